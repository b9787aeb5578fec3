import { memo } from "react";
import type { AgentMessage } from "asyouwere/react";
import type { Json } from "asyouwere";
import { Markdown } from "./Markdown";

interface Tool {
  name: string;
  input: Json;
  output: Json;
}

const brief = (value: Json): string => (typeof value === "string" ? value : JSON.stringify(value));

function Tools({ tools }: { tools: Tool[] }) {
  return tools.map((tool, place) => (
    <p className="tool" key={place}>
      <b>{tool.name}</b>
      <span>
        <code>{brief(tool.input)}</code> → {brief(tool.output)}
      </span>
    </p>
  ));
}

const NOTES: Record<string, string> = {
  interrupted: "This answer was interrupted; it is here as far as it came.",
  stopped: "Stopped.",
  failed: "This answer failed.",
};

/** One message. The same object is the same picture: a long conversation costs nothing when one is added. */
export const Message = memo(function Message({ message, me }: { message: AgentMessage; me: string }) {
  const content = typeof message.content === "string" ? message.content : JSON.stringify(message.content);
  const isPerson = message.role === "user";
  const isMine = isPerson && (message["by"] === undefined || message["by"] === me);
  const who = isMine ? "You" : isPerson ? String(message["name"] ?? "Somebody") : "Agent";
  const status = typeof message["status"] === "string" ? NOTES[message["status"]] : undefined;
  return (
    <li className="message" data-role={isMine ? "user" : isPerson ? "other" : "assistant"}>
      <span className={isMine ? "hidden-label" : "who"}>{isMine ? "You said:" : who}</span>
      {Array.isArray(message["tools"]) && <Tools tools={message["tools"] as unknown as Tool[]} />}
      {isPerson ? content : <Markdown text={content} />}
      {status && <p className="note">{[status, message["error"]].filter(Boolean).join(" ")}</p>}
    </li>
  );
});

/** The answer that is being made. */
export function Writing({ text, chunks }: { text: string; chunks: readonly Json[] }) {
  const tools = chunks.filter((chunk) => typeof chunk === "object" && chunk !== null && "name" in chunk) as unknown as Tool[];
  return (
    <li className="message" data-role="assistant" aria-busy="true">
      <span className="who">Agent</span>
      <Tools tools={tools} />
      {text ? <Markdown text={text} /> : <span className="writing" aria-label="writing" role="img" />}
    </li>
  );
}
