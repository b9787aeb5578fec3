import { useAutoRestore } from "asyouwere/react";
import { useEffect, useRef, useState } from "react";
import { submitOnEnter } from "../../submitOnEnter";
import { useAgent, type Agent } from "./agent";
import { link, message, options, type Message, type Studio } from "./chat";

type Say = ReturnType<typeof useAgent>["say"];

/** Goes on in the conversation of this name. */
export function Generate({ name }: { name: string }) {
  const { session, state, isRestored, error } = useAutoRestore<Studio>(options(name));
  const [isWatching, setWatching] = useState(false);
  const { agent, picture, say } = useAgent(isRestored ? session?.id : undefined, isWatching);

  function send(form: FormData): void {
    session!.append("/messages", [message(form.get("message"))]);
    // It is on this device now. What can't be saved is tried again by itself, and the status says so.
    void session!.saveNow().then(() => say("send_message"), () => {});
  }

  return (
    <main className="page">
      <header className="bar">
        <h1>
          <a href={link("/home")}>Studio</a>
        </h1>
        <Status agent={agent} isOffline={!!error} />
        <button aria-pressed={isWatching} onClick={() => setWatching(!isWatching)}>Watch</button>
        {isWatching && <p className="watched">{picture ? <img src={picture} alt="The agent’s page" /> : "Nothing to see yet."}</p>}
      </header>
      <Messages state={state} />
      {agent?.trouble && <Trouble {...agent.trouble} say={say} />}
      <form className="composer" action={send}>
        <textarea name="message" aria-label="Message" rows={1} required onKeyDown={submitOnEnter} />
        <button className="accent" disabled={!state}>Send</button>
      </form>
    </main>
  );
}

function Status({ agent, isOffline }: { agent: Agent | null; isOffline: boolean }) {
  const [kind, words] = isOffline
    ? ["bad", "Saved on this device; the server can’t be reached."]
    : !agent
      ? ["waiting", "Connecting …"]
      : agent.trouble
        ? ["bad", "Waiting"]
        : agent.busy
          ? ["busy", "The agent is at work …"]
          : ["good", "Ready"];
  return <span className="status" role="status" data-kind={kind}>{words}</span>;
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
function Trouble({ code, text, say }: { code: string; text: string; say: Say }) {
  return (
    <div className="note trouble" role="alert" data-kind="bad">
      <p>{text}</p>
      {code === "login_needed" ? (
        <form className="row" action={(form) => say("log_in", Object.fromEntries(form))}>
          <input name="name" aria-label="Name at the agent’s site" placeholder="Name there" autoComplete="off" required />
          <input name="password" type="password" aria-label="Password there" placeholder="Password there" autoComplete="off" required />
          <button className="accent">Log in</button>
        </form>
      ) : (
        <button onClick={() => say("send_message", { again: true })}>{code === "not_confirmed" ? "Send again" : "Try again"}</button>
      )}
    </div>
  );
}
