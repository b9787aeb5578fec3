import { forget } from "asyouwere/helpers";
import { useAutoRestore } from "asyouwere/react";
import { useTurn } from "asyouwere/react/turns";
import { StrictMode, useCallback, useEffect, useRef, useState } from "react";
import { createRoot } from "react-dom/client";
import { signIn, signOut, token, user } from "../../signIn";
import { submitOnEnter } from "../../submitOnEnter";
import { chat, Problem } from "./api";

const CHARACTERS = [
  { id: "navigator", name: "The Navigator" },
  { id: "gardener", name: "The Gardener" },
  { id: "librarian", name: "The Librarian" },
];

interface Message {
  role: "user" | "assistant";
  content: string;
  id?: string;
  /** The id of the message that this one is the reply to. */
  answers?: string;
}

interface Chat {
  messages?: Message[];
  /** Kept by the proxy. */
  upstream?: { session_id?: string };
}

const { url } = await signIn();
const where = { url, token, person: user };
const otherTabs = new BroadcastChannel(`signed out ${user}`);

type Opened = ReturnType<typeof useAutoRestore<Chat>>;

function Conversation({ id, name, session, state, isRestored }: (typeof CHARACTERS)[number] & Opened) {
  const { shown, follow } = useTurn(session);
  const [isAsking, setAsking] = useState(false);
  const [problem, setProblem] = useState("");
  const messages = state?.messages ?? [];
  const isAnswered = ({ id }: Message) => messages.some(({ answers }) => answers === id);
  const open = messages.filter((one) => one.role === "user" && !isAnswered(one));
  const isBusy = (isAsking && open.length > 0) || shown !== null; // until the reply is among the messages
  const unanswered = isBusy || !isRestored ? [] : open;

  const ask = async (...asked: Message[]) => {
    setAsking(true);
    setProblem("");
    try {
      await session!.saveNow(); // so that the proxy finds the message, and does not add it again
      for (const { id: message = "", content } of asked) await chat(id, state?.upstream?.session_id, message, content);
      follow(); // sees the turn's end, and with it the reply
    } catch (error) {
      setProblem(error instanceof Problem ? error.message : "We cannot be reached. Your message is kept.");
    } finally {
      setAsking(false);
    }
  };
  const say = (form: FormData) => {
    const message: Message = { role: "user", id: crypto.randomUUID(), content: String(form.get("text")).trim() };
    if (!message.content || !session) return;
    session.append("/messages", [{ ...message }]); // on this device from now on, whatever happens
    void ask(message);
  };

  const end = useRef<HTMLDivElement>(null);
  useEffect(() => void end.current?.scrollIntoView({ block: "end" }), [messages.length, isBusy, problem]);

  return (
    <>
      <div className="messages" role="log" aria-label={`Conversation with ${name}`}>
        {messages.length === 0 && isRestored && <div className="empty">Say something to {name}.</div>}
        {messages.map(({ role, content, id, answers }, index) => (
          <div key={id ?? answers ?? index} data-role={role}>
            <span className="sr">{role === "user" ? "You" : name}:</span>
            <p className="message">{content}</p>
          </div>
        ))}
        {isBusy && (
          <div>
            <span className="status" data-kind="busy">
              {name} is thinking …
            </span>
          </div>
        )}
        {unanswered.length > 0 && (
          <div>
            <div className="note row" role="alert" data-kind={problem ? "bad" : undefined}>
              {problem || "There is no answer to this yet."}
              <button onClick={() => void ask(...unanswered)}>Try again</button>
            </div>
          </div>
        )}
        <div ref={end} aria-hidden />
      </div>
      <form className="composer" action={say}>
        <textarea name="text" aria-label={`Message to ${name}`} rows={1} maxLength={8000} required onKeyDown={submitOnEnter} />
        <button className="accent" disabled={!session || isAsking}>
          Send
        </button>
      </form>
    </>
  );
}

function App() {
  const [shown, setShown] = useState(CHARACTERS[0]!);
  const [isSignedIn, setSignedIn] = useState(true);
  // The same key as the proxy's: both see one session, and what either saves appears in the other.
  const opened = useAutoRestore<Chat>({ ...where, key: `character:${shown.id}`, enabled: isSignedIn });

  const { session } = opened;
  const leave = useCallback(async () => {
    await session?.close(); // what is not saved yet is; from now on it writes nothing here
    await forget(where);
    signOut();
    setSignedIn(false);
  }, [session]);
  useEffect(() => void (otherTabs.onmessage = () => void leave()), [leave]);
  if (!isSignedIn)
    return (
      <main className="page empty">
        <p>You are signed out, and nothing of yours is kept on this device.</p>
        <button onClick={() => setSignedIn(true)}>Sign in</button>
      </main>
    );
  return (
    <main className="page">
      <header className="bar">
        <h1>Characters</h1>
        <nav className="row" aria-label="Characters">
          {CHARACTERS.map((one) => (
            <button key={one.id} aria-pressed={one === shown} onClick={() => setShown(one)}>
              {one.name}
            </button>
          ))}
        </nav>
        <button onClick={() => (otherTabs.postMessage(null), void leave())}>Sign out</button>
      </header>
      <Conversation key={shown.id} {...shown} {...opened} />
    </main>
  );
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
