import { open } from "asyouwere";
import { useAutoRestore } from "asyouwere/react";
import { useActionState } from "react";
import { chat, link, message, options, type Studio } from "./chat";

const MILLISECONDS_TO_SAVE = 3000;
/** The conversation that there was when this page was opened. */
const known = chat.value;

/** Takes the first prompt. Whoever has a conversation already goes on in it. */
export function Home() {
  const { session, state } = useAutoRestore<Studio>({ ...options(known ?? ""), enabled: known !== undefined });

  const [, begin, isBeginning] = useActionState<null, FormData>(async (_, form) => {
    const name = known ?? crypto.randomUUID();
    const conversation = session ?? open<Studio>(options(name));
    conversation.append("/messages", [message(form.get("prompt"))]);
    chat.keep(name, form.get("device") ? "device" : "tab");
    // Saved now; where the server can't be reached it is kept on this device, and let go of: the next page goes on with it.
    await Promise.race([conversation.close(), new Promise((done) => setTimeout(done, MILLISECONDS_TO_SAVE))]);
    location.assign(link("/generate"));
    return null;
  }, null);

  return (
    <main className="page">
      <header className="bar">
        <h1>Studio</h1>
      </header>
      <form className="home" action={begin}>
        <h2>What shall we make?</h2>
        {known && (
          <div className="card row before">
            <p>{state?.messages?.at(-1)?.content ?? "…"}</p>
            <a className="button" href={link("/generate")}>Open</a>
            <button type="button" onClick={() => (chat.forget(), location.assign(link("/home")))}>Begin another</button>
          </div>
        )}
        <textarea name="prompt" aria-label="Prompt" placeholder="A landing page for a tea house" rows={4} required autoFocus />
        <div className="row">
          <label className="small">
            <input type="checkbox" name="device" /> Remember on this device
          </label>
          <button className="accent" disabled={isBeginning}>
            {isBeginning ? "Beginning …" : known ? "Go on with this" : "Begin"}
          </button>
        </div>
      </form>
    </main>
  );
}
