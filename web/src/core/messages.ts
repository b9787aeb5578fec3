/** Choosing messages to go on with. */

import { isList, isObject, type Maybe } from "./values.js";

const roleOf = (message: Maybe): Maybe => (isObject(message) ? message["role"] : undefined);

const isToolResult = (message: Maybe): boolean => {
  const content = isObject(message) && message["content"];
  return roleOf(message) === "tool" || (isList(content) && content.some((block) => isObject(block) && block["type"] === "tool_result"));
};

/**
 * The last so many, with the instructions that stand at the beginning, and begun early enough that no result of a tool
 * (OpenAI's role `tool`, Anthropic's `tool_result`) stands without its call: as the Python client does.
 */
export function lastMessages<M extends Maybe>(messages: M[], last: number): M[] {
  let instructions = messages.findIndex((message) => !["system", "developer"].includes(roleOf(message) as string));
  if (instructions < 0) instructions = messages.length;
  let begin = Math.max(instructions, messages.length - Math.max(last, 0));
  while (begin > instructions && begin < messages.length && isToolResult(messages[begin])) begin--;
  return [...messages.slice(0, instructions), ...messages.slice(begin)];
}
