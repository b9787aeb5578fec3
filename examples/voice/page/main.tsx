import { forgetKey, keepKey, keptKey, open, passphraseKey, type Key } from "asyouwere/crypto";
import { authorizedFetch, forget, formatDuration, freshToken, sessionFromUrl, statisticsOf } from "asyouwere/helpers";
import { formatTimeAgo, useSessions, useSnapshot } from "asyouwere/react";
import { StrictMode, useEffect, useReducer, useRef, useState, type ReactNode } from "react";
import { createRoot } from "react-dom/client";
import { useStore } from "zustand";
import { signIn, user } from "../../signIn";
import { newTalk, Voice, type Talk } from "./voice";

const DAY = 86_400;
const { url, token: first, settings } = await signIn();
/** Got anew shortly before it is over, so that nobody waits for a refusal. */
const token = freshToken(async () => (await signIn(true)).token, { first });
const server = { url, token, person: user };

/** Opens the session of the URL, or this tab's own, and the line to the agent. */
function begin(key: Key): Voice {
  const id = sessionFromUrl();
  const session = open<Talk>({
    ...server,
    ...(id ? { session: id } : { tab: "voice" }),
    encryption: { key },
    initial: newTalk(),
    fields: { name: "Voice", expires_after_seconds: 7 * DAY, metadata: { app: "voice", sealedWith: key.id } },
    debounce: (settings["debounce_seconds"] ?? 2) * 1_000,
    onExpired: { carry: 10 },
  });
  return new Voice(session, authorizedFetch(token));
}

/** The person's conversations, newest first. */
function useConversations() {
  const { sessions, isLoading, error } = useSessions(server);
  return { isKnown: !isLoading && !error, error, conversations: sessions.filter(({ metadata }) => metadata["app"] === "voice") };
}

/** Asks for the passphrase. A mistyped one is told before anything is done with it. */
function Unlock() {
  const { conversations, isKnown, error } = useConversations();
  const [isWrong, setWrong] = useState(false);
  const unlock = async (form: FormData) => {
    const key = await passphraseKey(String(form.get("passphrase")), `asyouwere voice ${user}`);
    const isRight = !conversations.length || conversations.some(({ metadata }) => metadata["sealedWith"] === key.id);
    setWrong(!isRight);
    if (isRight) enter(key);
  };
  return (
    <main className="page unlock">
      <form className="card" action={unlock}>
        <h1>Voice</h1>
        <p className="quiet">
          What is said is sealed in this page before it is kept, and your passphrase opens it again, here and on your
          other devices. Nobody else knows it: a lost one is a lost conversation.
        </p>
        <label>
          {conversations.length ? "Your passphrase" : "Choose a passphrase"}
          <input type="password" name="passphrase" minLength={8} required autoFocus />
        </label>
        {isWrong && (
          <p className="note" role="alert" data-kind="bad">
            Your conversations were sealed with another passphrase. Nothing was changed.
          </p>
        )}
        {error !== null && <p className="note" role="alert">The server can't be reached. It is tried again.</p>}
        <button className="accent" disabled={!isKnown}>Open</button>
      </form>
    </main>
  );
}

const otherTabs = new BroadcastChannel(`voice ${user}`);

/** Leaves nothing on this device. All tabs do, as each of them has the key. */
async function lock(voice: Voice): Promise<void> {
  voice.hangUp();
  await voice.session.close();
  await forget(server);
  await forgetKey(user).catch(() => {});
  location.replace(`?user=${user}`);
}

const KINDS = { connecting: "busy", connected: "good", disconnected: "waiting" };

function Conversation({ voice }: { voice: Voice }) {
  const { session } = voice;
  const { id, state, status } = useSnapshot(session)!;
  const { connection, isElsewhere, isSilent, isDeaf } = useStore(voice.seen);
  const isClosed = /wrong_key|tampered/.test(status.error?.code ?? "");
  const isMine = !isElsewhere && !isClosed;
  // The URL names the session that is shown: one that has expired goes on in another.
  useEffect(() => {
    if (id && sessionFromUrl()) history.replaceState(null, "", `?user=${user}&session=${id}`);
  }, [id]);
  const end = useRef<HTMLLIElement>(null);
  useEffect(() => void end.current?.scrollIntoView({ block: "end" }), [state.messages]);
  const notes = [
    isClosed && "This conversation does not open with your passphrase. Nothing of it is shown, and nothing was changed.",
    status.journal === "off" && "This browser keeps nothing for this page. All that is said is saved on the server; after a reload you are asked for your passphrase, and find this conversation among the earlier ones.",
    status.journal === "full" && "This browser's storage is full. All that is said is saved on the server, and nowhere else.",
    status.offline && "The server can't be reached. What is said is kept here until it can.",
    isElsewhere && "Another tab holds this conversation. Read along here; when that tab is closed it goes on here.",
    isDeaf && "The microphone can't be used: allow it in your browser, or write.",
  ];
  useEffect(() => void (otherTabs.onmessage = () => void lock(voice)), [voice]);
  return (
    <main className="page voice" data-waiting={status.waiting.changes}>
      <header className="bar">
        <h1>Voice</h1>
        {isMine && <span className="status" role="status" aria-label="Connection" data-kind={KINDS[connection]}>{connection}</span>}
        {isMine && connection !== "disconnected" && <button onClick={voice.hangUp}>Hang up</button>}
        {isMine && connection === "disconnected" && <button className="accent" onClick={voice.line.connect}>Call</button>}
        <button onClick={() => (otherTabs.postMessage("lock"), lock(voice))}>Lock</button>
      </header>
      <div className="notes" aria-live="polite">
        {notes.map((note) => note && <p className="note" key={note}>{note}</p>)}
      </div>
      <div className="middle">
        <section>
          <ol className="messages" aria-label="Messages">
            {state.messages.map(({ role, content, status: how }, index) => (
              <li key={index} data-role={role}>
                <p className="message" data-status={how}>{content}</p>
                {how && how !== "whole" && <small className="quiet">{how}</small>}
              </li>
            ))}
            {!state.messages.length && <li className="empty">Say something, or write what you would say.</li>}
            <li ref={end} />
          </ol>
          <p className="orb" role="status" aria-label="Conversation" data-state={state.conversation}>{state.conversation}</p>
          <form className="composer" action={(form) => voice.say(String(form.get("text")))}>
            <button type="button" aria-pressed={state.microphone} onClick={() => voice.listen(!state.microphone)} disabled={!isMine}>Microphone</button>
            <input name="text" aria-label="What you say" placeholder="What you would say" autoComplete="off" required />
            {state.conversation === "speaking" && <button type="button" onClick={voice.interrupt}>Stop</button>}
            <button className="accent" disabled={!isMine}>Say</button>
          </form>
        </section>
        <Aside voice={voice} />
      </div>
      {isSilent && <button className="sound" onClick={voice.play}>Turn the sound on</button>}
    </main>
  );
}

/** How the conversation is doing, what has happened, and the earlier ones, of tabs that are closed. */
function Aside({ voice }: { voice: Voice }) {
  const { session } = voice;
  const { conversations } = useConversations();
  const { happenings } = useStore(voice.seen);
  const [read] = useState(() => statisticsOf(session, { token, since: () => session.state.startedAt }));
  const [, tick] = useReducer((ticks: number) => ticks + 1, 0);
  useEffect(() => {
    const timer = setInterval(tick, 1_000);
    return () => clearInterval(timer);
  }, []);
  const figures = read();
  const earlier = conversations.filter(({ id, message_count }) => id !== session.id && message_count > 0);
  return (
    <aside>
      <h2>This conversation</h2>
      <dl aria-label="Statistics">
        <dt>Active</dt><dd>{figures.active ? "yes" : "no"}</dd>
        <dt>Session</dt><dd><code>{figures.id.slice(0, 8)}</code></dd>
        <dt>Messages</dt><dd>{figures.messages}</dd>
        <dt>Duration</dt><dd>{formatDuration(figures.duration)}</dd>
        <dt>Reconnects</dt><dd>{figures.reconnects + voice.line.reconnects}</dd>
        <dt>Token ends in</dt><dd>{figures.tokenExpiresIn === null ? "–" : formatDuration(figures.tokenExpiresIn)}</dd>
      </dl>
      <h2>What happened</h2>
      <ol className="small" aria-label="Events">
        {happenings.map(({ event, what }, index) => <li key={happenings.length - index}><b>{event}</b>: {what}</li>)}
      </ol>
      <h2>Earlier conversations</h2>
      <nav className="small" aria-label="Earlier conversations">
        {earlier.map(({ id, message_count, last_activity_at }) => (
          <a key={id} href={`?user=${user}&session=${id}`}>{message_count} messages, {formatTimeAgo(last_activity_at)}</a>
        ))}
        <a href={`?user=${user}`} target="_blank" rel="noopener">A new one, in a new tab</a>
      </nav>
    </aside>
  );
}

const root = createRoot(document.getElementById("root")!);
const show = (page: ReactNode): void => root.render(<StrictMode>{page}</StrictMode>);
const enter = (key: Key): void => {
  keepKey(user, key).catch(() => {}); // where nothing can be kept it is asked for again after a reload
  show(<Conversation voice={begin(key)} />);
};
const kept = await keptKey(user).catch(() => undefined);
if (kept) enter(kept);
else show(<Unlock />);
