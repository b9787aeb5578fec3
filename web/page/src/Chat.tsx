import { ActivityLogIcon, CounterClockwiseClockIcon, HamburgerMenuIcon, Share1Icon } from "@radix-ui/react-icons";
import type { Json, Session, Snapshot } from "asyouwere";
import { formatTimeAgo, useSnapshot, type AgentMessage } from "asyouwere/react";
import { useTurn } from "asyouwere/react/turns";
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import { api, type ApiError } from "./api";
import { Composer } from "./Composer";
import { Cost } from "./Cost";
import { Message, Writing } from "./Messages";
import type { Person } from "./people";
import { Share } from "./Share";
import { Timeline, type Past } from "./Timeline";
import { useNow, useToast } from "./ui";

/** "Saving…", "Saved 12 seconds ago", "Offline, 3 changes waiting": what people want to know of it. */
function SaveStatus({ snapshot }: { snapshot: Snapshot<unknown> }) {
  const now = useNow(1);
  // told aloud is what goes wrong and nothing that changes by the second
  const { isSaving, lastSaved, waiting, offline, error, isReadOnly, isRestored, journal } = snapshot.status;
  const changes = `${waiting.changes} ${waiting.changes === 1 ? "change" : "changes"}`;
  const [kind, text] = isReadOnly
    ? ["saved", "Only to look at"]
    : offline
      ? ["waiting", waiting.changes ? `Offline, ${changes} waiting` : "Offline"]
      : error
        ? ["error", `Not saved: ${error.message}`]
        : isSaving
          ? ["saving", "Saving…"]
          : waiting.changes
            ? ["saving", `${changes} to save`]
            : lastSaved
              ? ["saved", `Saved ${formatTimeAgo(lastSaved, now)}`]
              : [isRestored ? "saved" : "saving", isRestored ? "Up to date" : "Opening…"];
  const whole = `${text}${journal === "full" ? " · storage full" : ""}`;
  return (
    <>
      <span className="status" data-kind={kind} title={journal === "full" ? "This browser's storage is full" : undefined}>
        {whole}
      </span>
      <span className="hidden-label" role="status">
        {offline ? "Offline. What you write is kept on this device." : kind === "error" || journal === "full" ? whole : ""}
      </span>
    </>
  );
}

/** A message as this page writes it: who said it is shown to those whom the session is shared with. */
export const said = (text: string, { id, name }: Person) => ({
  role: "user",
  content: text,
  id: crypto.randomUUID(),
  at: new Date().toISOString(),
  by: id,
  name,
});

const NO_MESSAGES: AgentMessage[] = [];
const NO_CHUNKS: Json[] = [];

/** One session: what was said, the answer in the making, and where one writes. */
export function Chat(props: {
  session: Session;
  /** What it is called; null until that is known. */
  name: string | null;
  person: Person;
  mayWrite: boolean;
  isOwner: boolean;
  /** Whether its first question is still to be asked; and that it was. */
  isUnasked: boolean;
  onAsked(): void;
  drawer: boolean;
  onDrawer(): void;
  onMenu(): void;
}) {
  const { session } = props;
  const snapshot = useSnapshot(session)!;
  const answer = useTurn(session);
  const toast = useToast();
  const [past, setPast] = useState<Past | null>(null);
  const [timeline, setTimeline] = useState(false);
  const [sharing, setSharing] = useState(false);
  const [asking, setAsking] = useState<string | null>(null); // the turn that is to answer, until there is something of it
  const [isOwed, setOwed] = useState(false); // a question that could not be asked yet

  const shown = past?.state ?? snapshot.state;
  const messages = Array.isArray(shown["messages"]) ? (shown["messages"] as AgentMessage[]) : NO_MESSAGES;
  const { turn, follow } = answer;
  const isFollowed = asking !== null && (asking === turn?.id || answer.error !== null);
  useEffect(() => {
    if (isFollowed) setAsking(null);
  }, [isFollowed]);
  const isAsking = asking !== null && !isFollowed;
  const isBusy = isAsking || answer.isRunning;
  const writing = past ? null : (answer.shown ?? (isAsking ? "" : null));

  const ask = useCallback(async () => {
    const id = crypto.randomUUID();
    setAsking(id);
    try {
      await session.saveNow();
      await api.answer(session.id, id);
      setOwed(false);
      follow(id);
    } catch (error) {
      const { status, code, message } = error as ApiError;
      const isTaken = code === "turn_running"; // somebody else's, who was a moment faster
      setAsking(null);
      setOwed(status === 0 || isTaken);
      if (isTaken) follow();
      else toast(status === 0 ? "The server can't be reached. It is kept here, and asked when the server is there again." : message);
    }
  }, [session, follow, toast]);

  const send = (text: string): void => {
    setPast(null);
    session.append("/messages", [said(text, props.person)]);
    void ask();
  };
  const { isUnasked, onAsked } = props;
  useEffect(() => {
    if (!isUnasked) return;
    onAsked();
    void ask();
  }, [isUnasked, onAsked, ask]);
  const { offline, waiting } = snapshot.status;
  const isBack = isOwed && !isBusy && !offline && waiting.changes === 0;
  useEffect(() => {
    if (isBack) void ask();
  }, [isBack, ask]);

  const last = messages.at(-1);
  const isUnanswered = !past && props.mayWrite && last?.role === "user" && writing === null && !isUnasked && snapshot.status.isRestored;

  // What is new is seen, unless somebody has scrolled up to read.
  const scroller = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  const length = (writing?.length ?? 0) + messages.length;
  const toEnd = (): void => {
    if (isAtEnd.current && scroller.current) scroller.current.scrollTop = scroller.current.scrollHeight;
  };
  useLayoutEffect(toEnd, [length, session]);
  // heights are known late: of messages off the screen when they are shown, of the window when a keyboard comes up
  useEffect(() => {
    const observer = new ResizeObserver(toEnd);
    for (const one of [scroller.current, scroller.current?.firstElementChild]) if (one) observer.observe(one);
    return () => observer.disconnect();
  }, [session]);
  return (
    <>
      <header className="bar">
        <button className="button plain icon only-narrow" aria-label="Sessions" onClick={props.onMenu}>
          <HamburgerMenuIcon />
        </button>
        <h1>{props.name ?? ""}</h1>
        <SaveStatus snapshot={snapshot} />
        <Cost session={session} number={snapshot.number} isOwner={props.isOwner} />
        <button
          className="button plain"
          aria-label="Timeline"
          aria-pressed={timeline}
          onClick={() => {
            setTimeline(!timeline);
            setPast(null);
          }}
        >
          <CounterClockwiseClockIcon /> <span className="wide-label">Timeline</span>
        </button>
        {props.isOwner && (
          <button className="button plain" aria-label="Share" onClick={() => setSharing(true)}>
            <Share1Icon /> <span className="wide-label">Share</span>
          </button>
        )}
        <button className="button plain" aria-label="What happens" aria-pressed={props.drawer} onClick={props.onDrawer}>
          <ActivityLogIcon /> <span className="wide-label">What happens</span>
        </button>
      </header>
      <div
        className="scroll"
        ref={scroller}
        tabIndex={0}
        role="log"
        aria-label="Conversation"
        onScroll={({ currentTarget: at }) => (isAtEnd.current = at.scrollHeight - at.scrollTop - at.clientHeight < 80)}
      >
        <ul className="messages">
          {messages.map((message, place) => (
            <Message key={message.id ?? place} message={message} me={props.person.id} />
          ))}
          {writing !== null && <Writing text={writing} chunks={isAsking ? NO_CHUNKS : (turn?.chunks ?? NO_CHUNKS)} />}
          {isUnanswered && !isBusy && (
            <li>
              {isOwed ? (
                <span className="quiet small">It is answered as soon as that can be.</span>
              ) : (
                <button className="button" onClick={() => void ask()}>
                  Answer this
                </button>
              )}
            </li>
          )}
        </ul>
      </div>
      {timeline && <Timeline session={session} name={props.name ?? "Untitled"} number={snapshot.number} mayWrite={props.mayWrite} past={past} onLook={setPast} />}
      {past ? (
        <p className="looking-back">
          You are looking at version {past.number}.
          <button
            className="button"
            onClick={() => {
              setTimeline(false);
              setPast(null);
            }}
          >
            Back to now
          </button>
        </p>
      ) : (
        <Composer
          name={session.id}
          person={props.person.id}
          placeholder={!props.mayWrite ? "You may read this session" : isBusy ? "The answer is on its way" : "Write a message"}
          disabled={!props.mayWrite}
          isRunning={isBusy}
          onSend={send}
          onStop={() => void (isAsking ? Promise.resolve() : answer.stop()).catch((error: Error) => toast(error.message))}
        />
      )}
      <Share session={session.id} open={sharing} onClose={() => setSharing(false)} />
    </>
  );
}
