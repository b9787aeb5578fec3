// @vitest-environment jsdom
/** The component that README.md prints: compiled as it is printed, and used. */

import { readFileSync } from "node:fs";
import { createElement, type ComponentType } from "react";
import * as runtime from "react/jsx-runtime";
import { fireEvent, render, screen } from "@testing-library/react";
import ts from "typescript";
import { test } from "vitest";
import * as hooks from "../src/react/index.js";
import { settled } from "./react.js";
import { FUNCTIONS, ask, person } from "./server.js";

const printed = /^```tsx\n(.*?)^```/ms.exec(readFileSync("README.md", "utf8"))![1]!;

test("the component of README.md shows a session and saves what is said", async () => {
  const { outputText: code } = ts.transpileModule(printed, {
    compilerOptions: { jsx: ts.JsxEmit.ReactJSX, module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 },
  });
  const module = { exports: {} as { Chat: ComponentType<{ url: string; token: string }> } };
  const packages: Record<string, unknown> = { "asyouwere/react": hooks, "react/jsx-runtime": runtime };
  new Function("module", "exports", "require", code)(module, module.exports, (name: string) => packages[name]);

  const token = person();
  render(createElement(module.exports.Chat, { url: FUNCTIONS, token }));
  fireEvent.click(await screen.findByText("Ask"));

  await screen.findByText("Where were we?");
  await screen.findByText("Not saved yet");
  await settled(async () => {
    const { sessions } = await ask(token, "GET", "/sessions");
    return sessions[0]?.message_count === 1;
  });
  await screen.findByText(/Saved just now/);
});
