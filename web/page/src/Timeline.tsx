import { BookmarkIcon, ResetIcon, Share2Icon } from "@radix-ui/react-icons";
import type { Session, State } from "asyouwere";
import { formatTimeAgo } from "asyouwere/react";
import { Slider } from "radix-ui";
import { useCallback, useEffect, useState } from "react";
import { go } from "./router";
import { Ask, useNow, useToast } from "./ui";

type Kept = Awaited<ReturnType<Session["history"]>>["snapshots"][number];
type Difference = Awaited<ReturnType<Session["diff"]>>[number];

/** An older version that is looked at. */
export interface Past {
  number: number;
  state: State;
}

const MOST = 500;

/** The snapshots of a session, oldest first. */
async function allOf(session: Session): Promise<Kept[]> {
  const kept: Kept[] = [];
  let cursor: string | null | undefined;
  do {
    const page = await session.history({ limit: 100, ...(cursor && { cursor }) });
    kept.push(...page.snapshots);
    cursor = page.next;
  } while (cursor && kept.length < MOST);
  return kept.reverse();
}

const brief = (value: unknown): string => {
  if (value === null || value === undefined) return "";
  const content = typeof value === "object" && "content" in value ? (value as { content: unknown }).content : value;
  const text = typeof content === "string" ? content : JSON.stringify(content);
  return text.length > 160 ? `${text.slice(0, 160)}…` : text;
};

/** A slider over all versions: what changed at each, and ways back. Nothing that came later is lost by going back. */
export function Timeline(props: { session: Session; name: string; number: number; mayWrite: boolean; past: Past | null; onLook(past: Past | null): void }) {
  const { session, number, onLook } = props;
  const toast = useToast();
  const now = useNow(30);
  const [kept, setKept] = useState<Kept[] | null>(null);
  const [failed, setFailed] = useState<string | null>(null);
  const [place, setPlace] = useState<number | null>(null);
  const [differences, setDifferences] = useState<Difference[] | null>(null);
  const [labelling, setLabelling] = useState(false);

  const load = useCallback(() => {
    allOf(session).then(
      (all) => {
        setKept(all);
        setFailed(null);
      },
      (error: { status?: number; message: string }) =>
        setFailed(error.status === 0 ? "The server can't be reached: the versions are shown when it is there." : error.message),
    );
  }, [session]);
  useEffect(load, [load, number]);

  const all = kept ?? [];
  const last = all.length - 1;
  const at = Math.min(place ?? last, last);
  const chosen = all[at];
  const before = all[at - 1];
  const isLatest = at === last;

  useEffect(() => {
    if (!chosen) return;
    let isGone = false;
    setDifferences(null);
    const timer = setTimeout(async () => {
      try {
        const [state, changed] = await Promise.all([
          isLatest ? null : session.peek({ number: chosen.number }),
          before ? session.diff(before.number, chosen.number) : [],
        ]);
        if (isGone) return;
        onLook(state && { number: chosen.number, state });
        setDifferences(changed);
      } catch (error) {
        if (!isGone) toast((error as Error).message);
      }
    }, 80);
    return () => {
      isGone = true;
      clearTimeout(timer);
    };
  }, [chosen?.number, before?.number, isLatest, session, onLook, toast]);

  const attempt = async (what: Promise<unknown>, done: string): Promise<void> => {
    try {
      await what;
      toast(done);
      load();
    } catch (error) {
      toast((error as Error).message);
    }
  };

  if (!chosen) return <section className="timeline quiet">{failed ?? (kept ? "Nothing has been saved yet." : "…")}</section>;
  return (
    <section className="timeline" aria-label="Timeline">
      <div className="row">
        <strong>Version {chosen.number}</strong>
        <span className="quiet">
          {formatTimeAgo(chosen.created_at, now)}
          {chosen.label ? ` · “${chosen.label}”` : ""} · {chosen.message_count} messages
        </span>
        <span className="row" style={{ marginLeft: "auto" }}>
          {props.mayWrite && (
            <button
              className="button"
              disabled={isLatest}
              onClick={() =>
                void attempt(session.restore({ number: chosen.number }), `Version ${chosen.number} is in front again.`).then(() => {
                  setPlace(null);
                  onLook(null);
                })
              }
            >
              <ResetIcon /> Restore
            </button>
          )}
          {props.mayWrite && (
            <button className="button" onClick={() => setLabelling(true)}>
              <BookmarkIcon /> Label
            </button>
          )}
          <button
            className="button"
            onClick={() =>
              void session.fork({ number: chosen.number, name: `${props.name.slice(0, 60)}, branch at ${chosen.number}` }).then(
                (branch) => {
                  toast("This is the branch; the session that it comes from stays as it is.");
                  go(branch.id);
                },
                (error: Error) => toast(error.message),
              )
            }
          >
            <Share2Icon /> Branch off
          </button>
        </span>
      </div>
      <div>
        <Slider.Root className="slider" min={0} max={Math.max(last, 1)} step={1} value={[at]} onValueChange={([to]) => setPlace(to ?? last)} disabled={last < 1}>
          <Slider.Track className="slider-track">
            <Slider.Range className="slider-range" />
          </Slider.Track>
          <Slider.Thumb className="slider-thumb" aria-label="Version" aria-valuetext={`Version ${chosen.number}, ${formatTimeAgo(chosen.created_at, now)}`} />
        </Slider.Root>
        <div className="ticks" aria-hidden="true">
          {all.map((one, index) => one.label && <i key={one.number} title={one.label} style={{ left: `${(index / Math.max(last, 1)) * 100}%` }} />)}
        </div>
      </div>
      <ul className="differences" aria-label="What changed" aria-live="polite">
        {differences === null && <li className="quiet">…</li>}
        {differences?.length === 0 && <li className="quiet">{before ? "Nothing changed." : "The first version."}</li>}
        {differences?.slice(0, 100).map((one) => (
          <li key={one.address}>
            <span data-change={one.change}>{one.change}</span>
            <code>{one.address}</code>
            <span>{brief(one.after ?? one.before)}</span>
          </li>
        ))}
      </ul>
      <Ask
        title={`Label version ${chosen.number}`}
        label="Label"
        action="Label"
        initial={chosen.label ?? ""}
        open={labelling}
        onClose={() => setLabelling(false)}
        onAnswer={(label) => void attempt(session.label(label, chosen.number), `Version ${chosen.number} is “${label}”, and stays.`)}
      />
    </section>
  );
}
