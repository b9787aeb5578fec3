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
  const { session, state, error, isRestored } = useAutoRestore<Flow>({ ...options, ...which, debounce: 300, poll: 1_000 });
  if (session && state && (isRestored || state.nodes)) return <Editor session={session} />;
  return <p className="card">{error ? "There is no such workflow, or it is not shared with you." : "Opening …"}</p>;
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
