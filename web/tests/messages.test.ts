import { expect, test } from "vitest";
import { lastMessages } from "../src/core/messages.js";
import type { Json } from "../src/core/types.js";

const [system, user, answer] = ["system", "user", "assistant"].map((role) => ({ role, content: role })) as unknown as [Json, Json, Json];
const call = { role: "assistant", tool_calls: [{ id: "1" }] };
const result = { role: "tool", tool_call_id: "1", content: "2" };
const block = { role: "user", content: [{ type: "tool_result", tool_use_id: "1", content: "2" }] };

/** The same as in tests/client/test_context.py. */
test.each<[Json[], number, Json[]]>([
  [[], 3, []],
  [[user, answer], 3, [user, answer]],
  [[user, answer, user], 1, [user]],
  [[system, user, answer, user], 1, [system, user]],
  [[system, user], 0, [system]],
  [[system], 1, [system]],
  [[user, call, result, answer], 2, [call, result, answer]],
  [[user, call, result, result, answer], 2, [call, result, result, answer]],
  [[user, call, block, answer], 2, [call, block, answer]],
  [[system, result, answer], 2, [system, result, answer]],
  [["a", "b", 3], 2, ["b", 3]],
])("lastMessages(%j, %i)", (messages, last, expected) => expect(lastMessages(messages, last)).toEqual(expected));
