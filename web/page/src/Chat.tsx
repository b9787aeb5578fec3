import { ActivityLogIcon, CounterClockwiseClockIcon, HamburgerMenuIcon, Share1Icon } from "@radix-ui/react-icons";
import type { Session, Snapshot } from "asyouwere";
import { formatTimeAgo, useSnapshot, useTurn, type AgentMessage } from "asyouwere/react";
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import { api } from "./api";
import { Composer } from "./Composer";
import { Message, Writing } from "./Messages";
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

const NO_MESSAGES: AgentMessage[] = [];

/** One session: what was said, the answer in the making, and where one writes. */
export function Chat(props: {
  session: Session;
  name: string;
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

  const shown = past?.state ?? snapshot.state;
  const messages = Array.isArray(shown["messages"]) ? (shown["messages"] as AgentMessage[]) : NO_MESSAGES;
  // Over, but its message is not here yet: it stays on the screen until it is.
  const { turn } = answer;
  const isWriting = !past && turn !== null && (answer.isRunning || (turn.number !== null && turn.number > snapshot.number));

  const { follow } = answer;
  useEffect(() => {
    if (props.asked) follow(props.asked);
  }, [props.asked, follow]);
  const ask = useCallback(async () => {
    const id = crypto.randomUUID();
    try {
      await session.saveNow();
      await api.answer(session.id, id);
      follow(id);
    } catch (error) {
      toast((error as Error).message || "The question is kept here, and sent when the server is there again.");
    }
  }, [session, follow, toast]);

  const send = (text: string): void => {
    setPast(null);
    session.append("/messages", [{ role: "user", content: text, id: crypto.randomUUID(), at: new Date().toISOString() }]);
    void ask();
  };

  const last = messages.at(-1);
  const isUnanswered = !past && props.mayWrite && last?.role === "user" && !isWriting && snapshot.status.isRestored;

  // What is new is seen, unless somebody has scrolled up to read.
  const scroller = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  const length = (isWriting ? turn.text.length : 0) + messages.length;
  useLayoutEffect(() => {
    if (isAtEnd.current && scroller.current) scroller.current.scrollTop = scroller.current.scrollHeight;
  }, [length, session]);
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
        <h1>{props.name}</h1>
        <SaveStatus snapshot={snapshot} />
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
            <Message key={message.id ?? place} message={message} />
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
      {timeline && <Timeline session={session} number={snapshot.number} mayWrite={props.mayWrite} past={past} onLook={setPast} />}
      {!past && (
        <Composer
          name={session.id}
          placeholder={props.mayWrite ? "Write a message" : "You may read this session"}
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
