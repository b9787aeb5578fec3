import { useAutoRestore } from "asyouwere/react";
import { useEffect, useRef, useState, useSyncExternalStore, type KeyboardEvent } from "react";
import { live } from "./live";
import { link, message, options, type Message, type Studio } from "./remembered";

const STAGES = {
  connecting: ["waiting", "Connecting …"],
  opening: ["busy", "Opening the agent’s page …"],
  sending: ["busy", "Sending …"],
  answering: ["busy", "The agent is at work …"],
  ready: ["good", "Ready"],
  trouble: ["bad", "Waiting"],
} as const;

/** Goes on in the conversation of this tab. */
export function Generate({ name }: { name: string }) {
  const { session, state, isRestored, error } = useAutoRestore<Studio>({ ...options(name), listen: live.listen });
  const agent = useSyncExternalStore(live.subscribe, () => live.agent);
  const id = isRestored ? session?.id : undefined;
  useEffect(() => (id ? live.connect(id) : undefined), [id]);

  function send(form: FormData): void {
    session!.append("/messages", [message(String(form.get("message")))]);
    // It is on this device now. What can't be saved is tried again by itself, and the status says so.
    void session!.saveNow().then(() => live.say("send_message"), () => {});
  }

  const [kind, words] = error ? (["bad", "Saved on this device; the server can’t be reached."] as const) : STAGES[agent.stage];
  return (
    <main className="page">
      <header className="bar">
        <h1>
          <a href={link("/home")}>Studio</a>
        </h1>
        <span className="status" role="status" data-kind={kind}>
          {words}
        </span>
        <Watch />
      </header>
      <Messages state={state} />
      {agent.trouble && <Trouble {...agent.trouble} />}
      <form className="composer" action={send}>
        <textarea name="message" aria-label="Message" rows={1} required onKeyDown={sendOnEnter} />
        <button className="accent" disabled={!state}>Send</button>
      </form>
    </main>
  );
}

function sendOnEnter(event: KeyboardEvent<HTMLTextAreaElement>): void {
  if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
  event.preventDefault();
  event.currentTarget.form!.requestSubmit();
}

function Messages({ state }: { state: Studio | null }) {
  const list = useRef<HTMLOListElement>(null);
  const count = state?.messages?.length;
  useEffect(() => void list.current?.scrollTo(0, list.current.scrollHeight), [count]);
  const isSent = ({ id, role }: Message) => role !== "user" || state?.deliveries?.[id]?.status === "sent";
  return (
    <ol className="messages" ref={list}>
      {state?.messages?.map((one) => (
        <li key={one.id} data-role={one.role}>
          <p className="message">{one.content}</p>
          {!isSent(one) && <span className="quiet small">not with the agent yet</span>}
        </li>
      ))}
    </ol>
  );
}

/** Why a message waits, and what can be done about it. */
function Trouble({ code, text }: { code: string; text: string }) {
  return (
    <div className="note trouble" role="alert" data-kind="bad">
      <p>{text}</p>
      {code === "login_needed" ? (
        <form className="row" action={(form) => live.say("log_in", Object.fromEntries(form))}>
          <input name="name" aria-label="Name at the agent’s site" placeholder="Name there" autoComplete="off" required />
          <input name="password" type="password" aria-label="Password there" placeholder="Password there" autoComplete="off" required />
          <button className="accent">Log in</button>
        </form>
      ) : (
        <button onClick={() => live.say("send_message")}>Try again</button>
      )}
    </div>
  );
}

/** The agent's page as it looks, for who wants to see it. */
function Watch() {
  const [isOpen, setOpen] = useState(false);
  const picture = useSyncExternalStore(live.subscribe, () => live.picture);
  const url = useSyncExternalStore(live.subscribe, () => live.agent.upstream?.url);
  const toggle = (): void => {
    live.say(isOpen ? "unwatch" : "watch");
    setOpen(!isOpen);
  };
  return (
    <>
      <button aria-pressed={isOpen} onClick={toggle}>Watch</button>
      {isOpen && (
        <figure className="watched">
          {picture ? <img src={picture} alt="The agent’s page" /> : <p className="quiet">Nothing to see yet.</p>}
          <figcaption className="quiet small">{url}</figcaption>
        </figure>
      )}
    </>
  );
}
