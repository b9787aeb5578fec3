import type { Session, Snapshot } from "asyouwere";
import { formatTimeAgo, useSnapshot } from "asyouwere/react";
import { useState } from "react";
import { Branches } from "./Branches";
import { compare, type Change, type Flow } from "./flow";
import { Picture } from "./Picture";
import { Versions } from "./Versions";

function saving({ status }: Snapshot<Flow>): [kind: string, words: string] {
  const { offline, waiting, isSaving, error, lastSaved, isRestored } = status;
  const changes = `${waiting.changes} ${waiting.changes === 1 ? "change" : "changes"}`;
  if (offline) return ["waiting", waiting.changes ? `Offline, ${changes} kept here` : "Offline"];
  if (error) return ["bad", error.message];
  if (isSaving || waiting.changes) return ["busy", "Saving …"];
  if (!isRestored) return ["busy", "Opening …"];
  return ["good", lastSaved ? `Saved ${formatTimeAgo(lastSaved)}` : "Up to date"];
}

/** One workflow, or one branch of it. */
export function Editor({ session }: { session: Session<Flow> }) {
  const snapshot = useSnapshot(session)!;
  const flow = snapshot.state;
  const [selected, setSelected] = useState<string | null>(null);
  const [past, setPast] = useState<{ number: number; flow: Flow } | null>(null);
  const [told, setTold] = useState("");
  const node = selected ? flow.nodes?.[selected] : undefined;
  const [kind, words] = saving(snapshot);

  const add = (): void => {
    const id = crypto.randomUUID().slice(0, 8);
    const count = Object.keys(flow.nodes ?? {}).length;
    session.set(`/nodes/${id}`, { label: "New step", x: 60 + (count % 4) * 170, y: 240 + (count % 3) * 60 });
    setSelected(id);
  };
  /** A node goes with its edges, in one save. */
  const remove = (id: string): void =>
    session.update((now) => ({
      ...now,
      nodes: Object.fromEntries(Object.entries(now.nodes ?? {}).filter(([other]) => other !== id)),
      edges: Object.fromEntries(Object.entries(now.edges ?? {}).filter(([, { from, to }]) => from !== id && to !== id)),
    }));

  const shown: { flow: Flow; changes?: Record<string, Change> } = past ? compare(past.flow, flow) : { flow };
  return (
    <main className="page">
      <header className="bar">
        <h1>Workflow</h1>
        <span className="status" role="status" data-kind={kind}>
          {words}
        </span>
        <button className="accent" onClick={add}>
          Add a step
        </button>
      </header>
      {told && (
        <p className="note" role="alert">
          {told} <button onClick={() => setTold("")}>Close</button>
        </p>
      )}
      <div className="work">
        <section className="middle">
          <Picture
            {...shown}
            selected={selected}
            onSelect={setSelected}
            {...(!past && {
              // one save, and two addresses: whoever moves it up and whoever moves it right are not in each other's way
              onMove: (id: string, x: number, y: number) =>
                session.update((now) => ({ ...now, nodes: { ...now.nodes, [id]: { ...now.nodes![id]!, x, y } } })),
            })}
          />
          {past && (
            <p className="legend">
              Since version {past.number}: <b data-change="added">added</b> <b data-change="changed">changed</b> <b data-change="gone">gone</b>
            </p>
          )}
          {node && selected && !past && (
            <div className="card row">
              <label>
                Step <input value={node.label} maxLength={60} onChange={(event) => session.set(`/nodes/${selected}/label`, event.target.value)} />
              </label>
              <label>
                Goes on to{" "}
                <select
                  value=""
                  onChange={({ target: { value: to } }) => session.set(`/edges/${selected}-${to}`, { from: selected, to })}
                >
                  <option value="">…</option>
                  {Object.entries(flow.nodes ?? {}).map(([id, { label }]) => id !== selected && <option key={id} value={id}>{label}</option>)}
                </select>
              </label>
              <button onClick={() => remove(selected)}>Remove</button>
            </div>
          )}
        </section>
        <aside className="side">
          <Branches session={session} onTold={setTold} />
          <Versions session={session} number={snapshot.number} past={past?.number ?? null} onPast={setPast} onTold={setTold} />
        </aside>
      </div>
    </main>
  );
}
