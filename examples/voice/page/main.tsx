import { forgetKey, keepKey, keptKey, open, passphraseKey, type Key } from "asyouwere/crypto";
import { forget, freshToken, sessionFromUrl, statisticsOf } from "asyouwere/helpers";
import { formatTimeAgo, useSessions, useSnapshot } from "asyouwere/react";
import { StrictMode, useEffect, useReducer, useRef, useState, useSyncExternalStore, type ReactNode } from "react";
import { createRoot } from "react-dom/client";
import type { Session } from "asyouwere";
import { signIn, user } from "../../signIn";
import { newTalk, Voice, type Talk } from "./voice";

const DAY = 86_400;
const { url } = await signIn();
/** Got anew shortly before it is over, so that nobody waits for a refusal. */
const token = freshToken(async () => (await signIn(true)).token);
const server = { url, token, person: user };

/** Opens the session of the URL, or this tab's own, and the line to the agent. */
function begin(key: Key): { session: Session<Talk>; voice: Voice } {
  const id = sessionFromUrl();
  const session = open<Talk>({
    ...server,
    ...(id ? { session: id } : { tab: "voice" }),
    encryption: { key },
    initial: newTalk(),
    fields: { name: "Voice", expires_after_seconds: 7 * DAY, metadata: { app: "voice", sealedWith: key.id } },
    debounce: 2_000,
    onExpired: { carry: 10 },
  });
  const voice = new Voice(session, async ({ sdp, type }) => {
    const ask = async (refresh: boolean): Promise<Response> =>
      fetch("/call", { method: "POST", headers: { Authorization: `Bearer ${await token(refresh)}` }, body: JSON.stringify({ sdp, type }) });
    const answer = await ask(false).then((first) => (first.status === 401 ? ask(true) : first));
    if (!answer.ok) throw new Error(`The agent does not answer (${answer.status}).`);
    return (await answer.json()) as RTCSessionDescriptionInit;
  });
  return { session, voice };
}

/** The person's conversations, newest first. */
function useConversations() {
  const { sessions, isLoading } = useSessions(server);
  return { isLoading, conversations: sessions.filter(({ metadata }) => metadata["app"] === "voice") };
}

/** Asks for the passphrase. A mistyped one is told before anything is done with it. */
function Unlock({ unlocked }: { unlocked: (key: Key) => void }) {
  const { conversations, isLoading } = useConversations();
  const [isWrong, setWrong] = useState(false);
  const unlock = async (form: FormData) => {
    const key = await passphraseKey(String(form.get("passphrase")), `asyouwere voice ${user}`);
    const isMistyped = conversations.length > 0 && conversations.every(({ metadata }) => metadata["sealedWith"] !== key.id);
    setWrong(isMistyped);
    if (isMistyped) return;
    await keepKey(user, key).catch(() => {}); // where nothing can be kept it is asked for again after a reload
    unlocked(key);
  };
  return (
    <main className="page unlock">
      <form className="card" action={unlock}>
        <h1>Voice</h1>
        <p className="quiet">
          What is said is sealed in this page before it is kept, and your passphrase opens it again, here and on your
          other devices. Nobody else knows it: a lost one is a lost conversation.
        </p>
        <input
          type="password"
          name="passphrase"
          aria-label="Passphrase"
          placeholder={conversations.length ? "Your passphrase" : "Choose a passphrase"}
          minLength={8}
          required
          autoFocus
        />
        {isWrong && (
          <p className="note" role="alert" data-kind="bad">
            Your conversations were sealed with another passphrase. Nothing was changed.
          </p>
        )}
        <button className="accent" disabled={isLoading}>Open</button>
      </form>
    </main>
  );
}

function Conversation({ session, voice }: ReturnType<typeof begin>) {
  const { id, state, status } = useSnapshot(session)!;
  const { connection, sound, isElsewhere, happenings } = useSyncExternalStore(voice.subscribe, voice.getSeen);
  const [problem, setProblem] = useState("");
  const { messages, conversation } = state;
  const isClosed = /wrong_key|tampered/.test(status.error?.code ?? "");
  const isMine = !isElsewhere && !isClosed;
  // The URL names the session that is shown: one that has expired goes on in another.
  useEffect(() => {
    if (id && sessionFromUrl()) history.replaceState(null, "", `?user=${user}&session=${id}`);
  }, [id]);
  const end = useRef<HTMLLIElement>(null);
  useEffect(() => void end.current?.scrollIntoView({ block: "end" }), [messages]);

  const say = (form: FormData) => voice.say(String(form.get("text")));
  const listen = () =>
    voice.microphone(!state.microphone).then(() => setProblem(""), () => setProblem("The microphone can't be used: allow it in your browser, or write."));
  /** Leaves nothing on this device. */
  const lock = async () => {
    voice.hangUp();
    await session.close();
    await forget(server);
    await forgetKey(user).catch(() => {});
    location.replace(`?user=${user}`);
  };

  return (
    <main className="page voice" data-waiting={status.waiting.changes}>
      <header className="bar">
        <h1>Voice</h1>
        {isMine && <span className="status" role="status" aria-label="Connection" data-kind={KINDS[connection]}>{connection}</span>}
        {isMine && connection !== "disconnected" && <button onClick={() => voice.hangUp()}>Hang up</button>}
        {isMine && connection === "disconnected" && <button className="accent" onClick={() => voice.call()}>Call</button>}
        <button onClick={lock}>Lock</button>
      </header>
      <Notes>
        {isClosed && "This conversation does not open with your passphrase. Nothing of it is shown, and nothing was changed."}
        {status.journal === "off" && "This browser keeps nothing for this page. All that is said is saved on the server; after a reload you are asked for your passphrase, and find this conversation among the earlier ones."}
        {status.journal === "full" && "This browser's storage is full. All that is said is saved on the server, and nowhere else."}
        {status.offline && "The server can't be reached. What is said is kept here until it can."}
        {isElsewhere && "Another tab holds this conversation. Read along here; when that tab is closed it goes on here."}
        {problem}
      </Notes>
      <div className="middle">
        <section>
          <ol className="messages" aria-label="Messages">
            {messages.map(({ role, content, status: how }, index) => (
              <li key={index} data-role={role}>
                <p className="message" data-status={how}>{content}</p>
                {how && <small className="quiet">{how}</small>}
              </li>
            ))}
            {!messages.length && <li className="empty">Say something, or write what you would say.</li>}
            <li ref={end} />
          </ol>
          <p className="orb" role="status" aria-label="Conversation" data-state={conversation}>{conversation}</p>
          <form className="composer" action={say}>
            <button type="button" aria-pressed={state.microphone} onClick={listen} disabled={!isMine}>Microphone</button>
            <input name="text" aria-label="What you say" placeholder="What you would say" autoComplete="off" required />
            {conversation === "speaking" && <button type="button" onClick={() => voice.interrupt()}>Stop</button>}
            <button className="accent" disabled={!isMine}>Say</button>
          </form>
        </section>
        <Aside session={session} reconnects={state.reconnects} happenings={happenings} />
      </div>
      <Sound stream={sound} />
    </main>
  );
}

const KINDS = { connecting: "busy", connected: "good", disconnected: "waiting" };

const Notes = ({ children }: { children: ReactNode[] }) => (
  <div className="notes" aria-live="polite">
    {children.filter(Boolean).map((note, index) => <p className="note" key={index}>{note}</p>)}
  </div>
);

/** What the agent says. A browser plays nothing in a page that was not touched yet: then a button asks for that. */
function Sound({ stream }: { stream: MediaStream | null }) {
  const [isRefused, setRefused] = useState(false);
  const audio = useRef<HTMLAudioElement>(null);
  const play = () => audio.current!.play().then(() => setRefused(false), (error: Error) => setRefused(error.name === "NotAllowedError"));
  useEffect(() => {
    audio.current!.srcObject = stream;
    if (stream) void play();
  }, [stream]);
  return (
    <>
      <audio ref={audio} />
      {isRefused && <button className="sound" onClick={play}>Turn the sound on</button>}
    </>
  );
}

/** How the conversation is doing, what has happened, and the earlier ones, of tabs that are closed. */
function Aside({ session, reconnects, happenings }: { session: Session<Talk>; reconnects: number } & Pick<ReturnType<Voice["getSeen"]>, "happenings">) {
  const { conversations } = useConversations();
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
        <dt>Duration</dt><dd>{clock(figures.duration)}</dd>
        <dt>Reconnects</dt><dd>{figures.reconnects + reconnects}</dd>
        <dt>Token ends in</dt><dd>{figures.tokenExpiresIn === null ? "–" : clock(figures.tokenExpiresIn)}</dd>
      </dl>
      <h2>What happened</h2>
      <ol className="small" aria-label="Events">
        {happenings.map(({ event, what, at }) => <li key={`${at} ${event}`}><b>{event}</b>: {what}</li>)}
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

/** `1:05`, of ms. */
const clock = (ms: number): string => {
  const seconds = Math.max(0, Math.round(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
};

const root = createRoot(document.getElementById("root")!);
const show = (page: ReactNode): void => root.render(<StrictMode>{page}</StrictMode>);
const enter = (key: Key): void => show(<Conversation {...begin(key)} />);
const kept = await keptKey(user).catch(() => undefined);
if (kept) enter(kept);
else show(<Unlock unlocked={enter} />);
