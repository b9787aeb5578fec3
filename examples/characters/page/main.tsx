import { useAutoRestore } from "asyouwere/react";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { signIn, token, user } from "../../signIn";

interface Chat {
  messages: { role: "user" | "assistant"; content: string }[];
}

function Character({ url, name }: { url: string; name: string }) {
  const { session, state } = useAutoRestore<Chat>({ url, token, person: user, key: name });
  const say = (form: FormData) =>
    session?.append("/messages", [{ role: "user", content: String(form.get("text")) }]);
  return (
    <main className="page">
      <header className="bar">
        <h1>{name}</h1>
      </header>
      <ol className="messages">
        {state?.messages?.map(({ role, content }, index) => (
          <li key={index} data-role={role}>
            <p className="message">{content}</p>
          </li>
        ))}
      </ol>
      <form className="composer" action={say}>
        <textarea name="text" aria-label="Message" required />
        <button className="accent">Send</button>
      </form>
    </main>
  );
}

const { url } = await signIn();
createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Character url={url} name="Ada" />
  </StrictMode>,
);
