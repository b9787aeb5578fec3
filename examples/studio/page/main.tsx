import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Generate } from "./Generate";
import { Home } from "./Home";
import { link, remembered } from "./remembered";

const isGenerate = location.pathname.startsWith("/generate");
if (isGenerate && !remembered) location.replace(link("/home"));
else
  createRoot(document.getElementById("root")!).render(
    <StrictMode>{isGenerate && remembered ? <Generate name={remembered} /> : <Home />}</StrictMode>,
  );
