import type { Session } from "asyouwere";
import { branchesOf, mergeFork, originOf, type Side } from "asyouwere/helpers";
import { useEffect, useState } from "react";
import { thingsOf, type Flow } from "./flow";
import { linkTo, options, sentence } from "./opened";

/** Branches are forks: sessions of their own, whose key says what they are branches of. */
export function Branches({ session, onTold }: { session: Session<Flow>; onTold(told: string): void }) {
  const { id } = session;
  const [origin, setOrigin] = useState<string | null>(null);
  const [branches, setBranches] = useState<{ id: string; name: string | null }[]>([]);
  const [conflicts, setConflicts] = useState<string[]>([]);
  useEffect(() => {
    originOf(options, id).then(({ origin_id }) => setOrigin(origin_id ?? null), () => {});
    branchesOf(options, id).then(setBranches, () => {});
  }, [id]);

  const tell = (error: Error): void => onTold(sentence(error));
  const merge = async (choices: Record<string, Side> = {}): Promise<void> => {
    await session.saveNow();
    // Nothing is written while somebody has to decide; meanwhile the origin may go on, and the next try sees that.
    const { conflicts: open } = await mergeFork(options, id, { choices });
    if (open) setConflicts(thingsOf(open));
    else location.assign(linkTo(origin!));
  };

  return (
    <section className="card">
      <h2>{origin ? "This is a branch" : "Branches"}</h2>
      {origin && (
        <p className="row">
          <a className="button" href={linkTo(origin)}>
            To where it came from
          </a>
          <button className="accent" onClick={() => void merge().catch(tell)}>
            Merge back
          </button>
        </p>
      )}
      {conflicts.length > 0 && (
        <form
          className="conflicts"
          action={(form) => merge(Object.fromEntries(conflicts.map((thing) => [thing, form.get(thing) as Side]))).catch(tell)}
        >
          <p>Both have changed these. Nothing was merged yet: whose stands?</p>
          {conflicts.map((thing) => (
            <fieldset key={thing}>
              <legend>{session.state.nodes?.[thing.split("/")[2]!]?.label ?? thing}</legend>
              <label>
                <input type="radio" name={thing} value="fork" required /> this branch’s
              </label>
              <label>
                <input type="radio" name={thing} value="origin" /> the other one’s
              </label>
            </fieldset>
          ))}
          <button className="accent">Merge with these</button>
        </form>
      )}
      <ul className="versions">
        {branches.map((branch) => (
          <li key={branch.id}>
            <a href={linkTo(branch.id)}>{branch.name}</a>
          </li>
        ))}
      </ul>
      <form
        className="row"
        action={(form) => {
          const name = String(form.get("branch"));
          // a name is there once: the key makes it so
          session.fork({ name, key: `${id}/${name}` }).then((made) => location.assign(linkTo(made.id)), tell);
        }}
      >
        <input name="branch" aria-label="Branch" placeholder="Name of a new branch" required maxLength={100} />
        <button>Branch off</button>
      </form>
    </section>
  );
}
