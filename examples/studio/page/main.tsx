import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { chat } from "./chat";
import { Generate } from "./Generate";
import { Home } from "./Home";

// Who comes to /generate without a conversation begins one.
const isHome = !chat.value || !location.pathname.startsWith("/generate");
createRoot(document.getElementById("root")!).render(<StrictMode>{isHome ? <Home /> : <Generate name={chat.value!} />}</StrictMode>);
