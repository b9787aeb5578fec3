/** Choosing messages to go on with. */

import type { Json } from "./types.js";
import { isList, type Maybe } from "./values.js";

/** As far as it is one: any value may stand among messages. */
type Message = { role?: string; content?: Json; type?: string } | null | undefined;

const isToolResult = (message: Message): boolean => {
  const content = message?.content;
  return message?.role === "tool" || (isList(content) && content.some((block) => (block as Message)?.type === "tool_result"));
};

/**
 * The last so many, with the instructions that stand at the beginning, and begun early enough that no result of a tool
 * (OpenAI's role `tool`, Anthropic's `tool_result`) stands without its call: as the Python client does.
 */
export function lastMessages<M extends Maybe>(messages: M[], last: number): M[] {
  let instructions = 0;
  while (["system", "developer"].includes((messages[instructions] as Message)?.role!)) instructions++;
  let begin = Math.max(instructions, messages.length - Math.max(last, 0));
  while (begin > instructions && isToolResult(messages[begin] as Message)) begin--;
  return [...messages.slice(0, instructions), ...messages.slice(begin)];
}
