import { Cross1Icon } from "@radix-ui/react-icons";
import type { Session } from "asyouwere";
import { useSnapshot } from "asyouwere/react";
import { useEffect, useMemo, useState } from "react";
import { bytes, useTraffic } from "./traffic";

const JOURNALS = { ok: "kept in this browser", full: "full: new changes are only in memory", off: "off: nothing is kept here" };

/** What happens behind it, live: requests, bytes, and what this browser keeps. */
export function Drawer({ session, onClose }: { session: Session | null; onClose(): void }) {
  const snapshot = useSnapshot(session);
  const { exchanges, totals } = useTraffic();
  const size = useMemo(() => (snapshot ? JSON.stringify(snapshot.state).length : 0), [snapshot?.state]);
  const [usage, setUsage] = useState<number | null>(null);
  useEffect(() => {
    const look = (): void => void navigator.storage?.estimate?.().then(({ usage }) => setUsage(usage ?? null));
    look();
    const timer = setInterval(look, 5000);
    return () => clearInterval(timer);
  }, []);

  return (
    <aside className="drawer" aria-label="What happens">
      <div className="row" style={{ justifyContent: "space-between" }}>
        <strong>What happens</strong>
        <button className="button plain icon" aria-label="Close" onClick={onClose}>
          <Cross1Icon />
        </button>
      </div>
      {snapshot && (
        <>
          <h2>This session</h2>
          <dl className="facts">
            <dt>Version on the server</dt>
            <dd>{snapshot.number}</dd>
            <dt>State</dt>
            <dd>{bytes(size)}</dd>
            <dt>Saves by this page</dt>
            <dd>{snapshot.status.saveCount}</dd>
            <dt>Waiting</dt>
            <dd>
              {snapshot.status.waiting.changes} {snapshot.status.waiting.changes === 1 ? "change" : "changes"}, {bytes(snapshot.status.waiting.bytes)}
            </dd>
            <dt>Journal</dt>
            <dd>{JOURNALS[snapshot.status.journal]}</dd>
            {usage !== null && (
              <>
                <dt>Stored in this browser</dt>
                <dd>{bytes(usage)}</dd>
              </>
            )}
            {snapshot.status.error && (
              <>
                <dt>Last refusal</dt>
                <dd>
                  <code>{snapshot.status.error.code}</code>
                </dd>
              </>
            )}
          </dl>
        </>
      )}
      <h2>
        {totals.requests} requests · {bytes(totals.sent)} sent · {bytes(totals.received)} received
      </h2>
      <ul className="requests mono">
        {exchanges.map((one) => (
          <li key={one.id} data-bad={one.status !== null && (one.status === 0 || one.status >= 400)}>
            <span className="path" title={`${one.method} ${one.path}`}>
              {one.method} {one.path}
            </span>
            <span>{one.status === null ? "…" : one.status || "no answer"}</span>
            <span title="sent, received">
              ↑{bytes(one.sent)} ↓{bytes(one.received)}
            </span>
            <span>{one.milliseconds === null ? "" : `${Math.round(one.milliseconds)} ms`}</span>
          </li>
        ))}
      </ul>
    </aside>
  );
}
