import type { Session } from "asyouwere";
import { useEffect, useState } from "react";
import type { Flow } from "./flow";
import { sentence } from "./opened";

type Version = Awaited<ReturnType<Session["history"]>>["snapshots"][number];

/** The versions, newest first: tagged, compared with now, brought back. */
export function Versions(props: {
  session: Session<Flow>;
  number: number;
  past: number | null;
  onPast(past: { number: number; flow: Flow } | null): void;
  onTold(told: string): void;
}) {
  const { session, number, past, onPast, onTold } = props;
  const [versions, setVersions] = useState<Version[]>([]);
  const [tagged, setTagged] = useState(0);
  useEffect(() => {
    let isGone = false;
    session.history({ limit: 30 }).then(
      ({ snapshots }) => isGone || setVersions(snapshots),
      () => {}, // offline: those that are known stay
    );
    return () => void (isGone = true);
  }, [session, number, tagged]);

  const tell = (error: Error): void => onTold(sentence(error));
  const look = (of: Version): void =>
    past === of.number ? onPast(null) : void session.peek({ number: of.number }).then((flow) => onPast({ number: of.number, flow }), tell);

  return (
    <section className="card">
      <h2>Versions</h2>
      <form
        className="row"
        action={(form) => {
          // a tag is the label of a number: clean-up never takes it
          session.label(String(form.get("tag"))).then(() => setTagged((count) => count + 1), tell);
        }}
      >
        <input name="tag" aria-label="Tag" placeholder="Tag this version" required maxLength={200} />
        <button>Tag</button>
      </form>
      <ul className="versions">
        {versions.map((version) => (
          <li key={version.number} className="row">
            <button aria-pressed={past === version.number} onClick={() => look(version)}>
              {version.label ?? `Version ${version.number}`}
            </button>
            {past === version.number && version.number !== number && (
              <button
                onClick={() => {
                  onPast(null);
                  session.restore({ number: version.number }).catch(tell); // a new version with the old content
                }}
              >
                Go back to it
              </button>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}
