import { useAutoRestore } from "asyouwere/react";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Editor } from "./Editor";
import { FIRST, type Flow } from "./flow";
import { options, wanted } from "./opened";

const fields = { kind: "workflow", name: "Workflow" } as const;

function App() {
  const which = wanted ? { session: wanted } : { key: "workflow", initial: FIRST, fields };
  // saved soon and looked at often: two people see each other work
  const { session, state, error, metadata } = useAutoRestore<Flow>({ ...options, ...which, debounce: 300, poll: 1_000 });
  // not what a new one begins with, before somebody has said whether there is one
  if (session && state && metadata?.from) return <Editor session={session} />;
  const isAway = (error as { code?: string } | null)?.code === "network";
  const why = isAway ? "The server can't be reached. It is tried again." : "There is no such workflow, or it is not shared with you.";
  return <p className="card">{error ? why : "Opening …"}</p>;
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
