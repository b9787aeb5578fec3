import { open } from "asyouwere";
import { useAutoRestore } from "asyouwere/react";
import { useState } from "react";
import { forget, link, message, options, remember, remembered, type Studio } from "./remembered";

const SECONDS_TO_SAVE = 3;

/** Takes the first prompt. Whoever has a conversation already goes on in it. */
export function Home() {
  const [isBeginning, setBeginning] = useState(false);

  async function begin(form: FormData): Promise<void> {
    setBeginning(true);
    const name = remembered ?? crypto.randomUUID();
    const session = open<Studio>(options(name));
    await session.ready;
    session.append("/messages", [message(String(form.get("prompt")))]);
    // It is on this device; where the server can't be reached, the next page sends it.
    await Promise.race([session.saveNow().catch(() => {}), new Promise((done) => setTimeout(done, SECONDS_TO_SAVE * 1000))]);
    remember(name); // a tab that is closed before the next page has run is found again
    location.assign(link("/generate", name));
  }

  return (
    <main className="page">
      <header className="bar">
        <h1>Studio</h1>
      </header>
      <form className="home" onSubmit={(event) => (event.preventDefault(), void begin(new FormData(event.currentTarget)))}>
        <h2>What shall we make?</h2>
        {remembered && <Before name={remembered} />}
        <textarea name="prompt" aria-label="Prompt" placeholder="A landing page for a tea house" rows={4} required autoFocus />
        <button className="accent" disabled={isBeginning}>
          {isBeginning ? "Beginning …" : remembered ? "Go on with this" : "Begin"}
        </button>
      </form>
    </main>
  );
}

/** What there is already. */
function Before({ name }: { name: string }) {
  const { state } = useAutoRestore<Studio>(options(name));
  return (
    <div className="card row before">
      <p>{state?.messages?.at(-1)?.content ?? "…"}</p>
      <a className="button" href={link("/generate")}>Open</a>
      <button type="button" onClick={forget}>Begin another</button>
    </div>
  );
}
