import "./app.css";
import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { token, usePeople } from "./people";
import { ToastArea } from "./ui";

/** Signs in as whoever was here before, a guest at first; another person is another page. */
function Page() {
  const { me } = usePeople();
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    const enter = (): void => void token().then(() => setFailed(false), () => setFailed(true));
    enter();
    const timer = setInterval(() => !me && enter(), 3000);
    return () => clearInterval(timer);
  }, [me]);
  if (!me) return failed ? <p className="home">The server does not answer. Trying again …</p> : null;
  return <App key={me.id} person={me} />;
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <ToastArea>
      <Page />
    </ToastArea>
  </StrictMode>,
);
