import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { Chat } from "./Chat";

const asked = new URLSearchParams(location.search);
const given = (name: string): string => asked.get(name) ?? "";

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Chat url={given("url")} token={given("token")} session={given("session")} />
  </StrictMode>,
);
