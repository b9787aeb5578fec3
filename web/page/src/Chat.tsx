import { ActivityLogIcon, CounterClockwiseClockIcon, HamburgerMenuIcon, Share1Icon } from "@radix-ui/react-icons";
import type { Session, Snapshot } from "asyouwere";
import { formatTimeAgo, useSnapshot, type AgentMessage } from "asyouwere/react";
import { useTurn } from "asyouwere/react/turns";
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import { api } from "./api";
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
  return (
    <span className="status" data-kind={kind} role="status" title={journal === "full" ? "This browser's storage is full" : undefined}>
      {text}
      {journal === "full" && " · storage full"}
    </span>
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

/** One session: what was said, the answer in the making, and where one writes. */
export function Chat(props: {
  session: Session;
  /** What it is called; null until that is known. */
  name: string | null;
  person: Person;
  mayWrite: boolean;
  isOwner: boolean;
  /** A turn that was begun elsewhere, to be followed at once. */
  asked: string | null;
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
  const [isOwed, setOwed] = useState(false); // a question that could not be asked yet

  const shown = past?.state ?? snapshot.state;
  const messages = Array.isArray(shown["messages"]) ? (shown["messages"] as AgentMessage[]) : NO_MESSAGES;
  // Over, but its message is not here yet: it stays on the screen until it is, and no longer.
  const { turn } = answer;
  const isHere = turn !== null && messages.slice(-5).some(({ id }) => id === turn.id);
  const isWriting = !past && turn !== null && !isHere && (answer.isRunning || (turn.number !== null && turn.number > snapshot.number));

  const { follow } = answer;
  useEffect(() => {
    if (props.asked) follow(props.asked);
  }, [props.asked, follow]);
  const ask = useCallback(async () => {
    const id = crypto.randomUUID();
    try {
      await session.saveNow();
      await api.answer(session.id, id);
      setOwed(false);
      follow(id);
    } catch (error) {
      const isAway = (error as { status?: number }).status === 0;
      setOwed(isAway);
      toast(isAway ? "The server can't be reached. It is kept here, and asked when the server is there again." : (error as Error).message);
    }
  }, [session, follow, toast]);

  const send = (text: string): void => {
    setPast(null);
    session.append("/messages", [said(text, props.person)]);
    void ask();
  };
  const { offline, waiting } = snapshot.status;
  const isBack = isOwed && !offline && waiting.changes === 0;
  useEffect(() => {
    if (isBack) void ask();
  }, [isBack, ask]);

  const last = messages.at(-1);
  const isUnanswered = !past && props.mayWrite && last?.role === "user" && !isWriting && snapshot.status.isRestored;

  // What is new is seen, unless somebody has scrolled up to read.
  const scroller = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  const length = (isWriting ? turn.text.length : 0) + messages.length;
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
  useEffect(() => {
    isAtEnd.current = true;
    setPast(null);
    setTimeline(false);
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
          aria-pressed={timeline}
          onClick={() => {
            setTimeline(!timeline);
            setPast(null);
          }}
        >
          <CounterClockwiseClockIcon /> <span className="wide-label">Timeline</span>
          <span className="hidden-label only-narrow">Timeline</span>
        </button>
        {props.isOwner && (
          <button className="button plain" onClick={() => setSharing(true)}>
            <Share1Icon /> <span className="wide-label">Share</span>
            <span className="hidden-label only-narrow">Share</span>
          </button>
        )}
        <button className="button plain" aria-pressed={props.drawer} onClick={props.onDrawer}>
          <ActivityLogIcon /> <span className="wide-label">What happens</span>
          <span className="hidden-label only-narrow">What happens</span>
        </button>
      </header>
      <div
        className="scroll"
        ref={scroller}
        tabIndex={0}
        role="region"
        aria-label="Conversation"
        onScroll={({ currentTarget: at }) => (isAtEnd.current = at.scrollHeight - at.scrollTop - at.clientHeight < 80)}
      >
        <ul className="messages">
          {messages.map((message, place) => (
            <Message key={message.id ?? place} message={message} me={props.person.id} />
          ))}
          {isWriting && <Writing text={turn.text} chunks={turn.chunks} />}
          {isUnanswered && !answer.isRunning && (
            <li>
              <button className="button" onClick={() => void ask()}>
                Answer this
              </button>
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
          placeholder={!props.mayWrite ? "You may read this session" : answer.isRunning ? "Send it when the answer is there" : "Write a message"}
          disabled={!props.mayWrite}
          isRunning={answer.isRunning}
          onSend={send}
          onStop={() => void answer.stop().catch((error: Error) => toast(error.message))}
        />
      )}
      <Share session={session.id} open={sharing} onClose={() => setSharing(false)} />
    </>
  );
}
