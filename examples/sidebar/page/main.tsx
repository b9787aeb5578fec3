import { draftOf } from "asyouwere/helpers";
import { useAutoRestore, useSessions } from "asyouwere/react";
import { useTurn } from "asyouwere/react/turns";
import { StrictMode, useEffect, useRef, useState } from "react";
import { createRoot } from "react-dom/client";
import { signIn, token, user } from "../../signIn";
import { submitOnEnter } from "../../submitOnEnter";
import { chat, download, type Outgoing } from "./api";

interface Message {
  role: "user" | "assistant";
  content: string;
  imageUrl?: string;
  id?: string;
  /** The id of the message that this one is the reply to. */
  answers?: string;
}

interface Post {
  id: string;
  text: string;
  imageUrl: string;
  status: "draft" | "posted";
}

interface Conversation {
  messages?: Message[];
  posts?: Post[];
}

const { url } = await signIn();
const where = { url, token, person: user };
// What is on its way stays on this device until the server has answered it: through a reload, a crash, a dead line.
const outgoing = draftOf(where, "sidebar");

/** Sends messages, one at a time. `pending`: the one that is not answered yet. */
function useSending(answered: (sessionId: string) => void) {
  const [pending, setPending] = useState<Outgoing | null>(null);
  const [isSending, setSending] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => void outgoing.read().then((text) => text && setPending((now) => now ?? JSON.parse(text))), []);

  const send = async (message: Outgoing) => {
    setPending(message);
    setSending(true);
    setProblem(null);
    try {
      await outgoing.write(JSON.stringify(message));
      const { sessionId } = await outgoing.send(() => chat(message));
      answered(sessionId);
      setPending(null);
    } catch (error) {
      setProblem((error as Error).message);
    } finally {
      setSending(false);
    }
  };
  const drop = () => {
    setPending(null);
    void outgoing.write("");
  };
  return { pending, isSending, problem, send, drop };
}

function App() {
  const list = useSessions({ ...where, keyPrefix: "sidebar:", poll: 5_000 });
  // Which conversation: the one that was chosen, "" for a new one; else the last one, on whatever device it was.
  const [chosen, choose] = useState<string | null>(null);
  const current = chosen ?? list.sessions[0]?.id ?? "";
  const { session, state } = useAutoRestore<Conversation>({ ...where, session: current, enabled: !!current });
  const { shown, follow } = useTurn(session);
  const { pending, isSending, problem, send, drop } = useSending((sessionId) => {
    choose(sessionId);
    follow(); // sees the turn's end, and with it the reply
    void list.refresh();
  });
  const ended = list.sessions.filter((one) => one.expired_at);

  const messages = (current && state?.messages) || [];
  const posts = (current && state?.posts) || [];
  const unseen = pending && !messages.some((one) => one.id === pending.id) ? pending : null;
  const isBusy = isSending || shown !== null; // until the reply is among the messages
  // The page was reloaded while the answer was on its way, and it has come all the same.
  const isAnswered = !isSending && !!pending && messages.some((one) => one.answers === pending.id);
  useEffect(() => void (isAnswered && drop()), [isAnswered]);
  const say = (form: FormData) => {
    const content = String(form.get("text")).trim();
    if (content) void send({ id: crypto.randomUUID(), content, sessionId: current || undefined });
  };
  const clear = (id: string) => list.remove(id).then(() => id === current && choose(""));

  const end = useRef<HTMLDivElement>(null);
  useEffect(() => void end.current?.scrollIntoView({ block: "end" }), [messages.length, unseen, isBusy, problem]);

  return (
    <div className="desk">
      <main className="work" aria-label="Posts" tabIndex={0}>
        <h1>Posts</h1>
        {posts.length === 0 && <p className="quiet">Ask for a post about something, and it will be here.</p>}
        {posts.map(({ id, text, imageUrl, status }) => (
          <article key={id} className="card" aria-label={status === "posted" ? "Posted" : "Draft"}>
            <img src={imageUrl} alt="" />
            <p>{text}</p>
            <p className="small quiet">{status === "posted" ? "Posted" : "Draft"}</p>
          </article>
        ))}
      </main>
      <aside aria-label="Assistant">
        <header className="bar">
          <h2>Assistant</h2>
          <button onClick={() => choose("")}>New</button>
          <button disabled={!current} onClick={() => void download(current, "json")}>
            JSON
          </button>
          <button disabled={!current} onClick={() => void download(current, "pdf")}>
            PDF
          </button>
        </header>
        <details>
          <summary className="small">
            {list.sessions.length - ended.length} active, {ended.length} ended
          </summary>
          <ul>
            {list.sessions.map(({ id, last_message, expired_at }) => (
              <li key={id}>
                <button aria-current={id === current ? "true" : undefined} onClick={() => choose(id)}>
                  {last_message || "New conversation"}
                  {expired_at && <span className="small quiet"> · ended</span>}
                </button>
                <button aria-label={`Clear ${last_message ?? ""}`} onClick={() => void clear(id)}>
                  Clear
                </button>
              </li>
            ))}
          </ul>
          <button disabled={!ended.length} onClick={() => void Promise.all(ended.map(({ id }) => clear(id)))}>
            Clear ended ones
          </button>
        </details>
        <div className="messages" role="log" aria-label="Conversation" tabIndex={0}>
          {messages.map(({ role, content, imageUrl, id, answers }, index) => (
            <div key={id ?? answers ?? index} data-role={role}>
              <div className="message">
                {content}
                {imageUrl && <img src={imageUrl} alt="The post's picture" />}
              </div>
            </div>
          ))}
          {unseen && (
            <div data-role="user">
              <div className="message">{unseen.content}</div>
            </div>
          )}
          {isBusy && (
            <div>
              <span className="status" data-kind="busy">
                Writing …
              </span>
            </div>
          )}
          {pending && !isBusy && (
            <div>
              <div className="note row" role="alert" data-kind="bad">
                {problem ?? "There is no answer to this yet."}
                <button onClick={() => void send(pending)}>Try again</button>
                <button onClick={drop}>Discard</button>
              </div>
            </div>
          )}
          {ended.some(({ id }) => id === current) && !isBusy && (
            <div>
              <span className="small quiet">This conversation has ended. Say something, and it goes on.</span>
            </div>
          )}
          <div ref={end} aria-hidden />
        </div>
        <form className="composer" action={say}>
          <textarea name="text" aria-label="Message" rows={1} maxLength={8000} required onKeyDown={submitOnEnter} />
          <button className="accent" disabled={!!pending}>
            Send
          </button>
        </form>
      </aside>
    </div>
  );
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
