/** Text that has no place in plain JSON for Postgres: NUL, and halves of characters, as a stream may be cut. */

import { describe, expect, test } from "vitest";
import type { Json } from "../src/core/types.js";
import { ask, opened, person, stateOf, ways } from "./server.js";
import { turnsOf } from "../src/turns/index.js";

type Odd = { memory?: Json; step?: number; messages?: Json[] };

const texts = ["a\u0000b", "\ud800", "\udfff half", "\ud83d\ude00 whole", "\\u0000 and \\ud800 are plain", "\u0001\u0003"];

describe.each(ways)("over %s", (way) => {
  test.each(texts.map((text) => [JSON.stringify(text), text]))("%s is saved and restored as it is, as a value, an item and a key", async (_, text) => {
    const token = person();
    const initial = { memory: { [text]: text, deep: { deeper: { [text]: [text] } } }, step: 0 };
    const session = opened<Odd>(way, { token, initial });
    await session.ready;
    session.append("/messages", [{ role: "user", content: text }]);
    await session.saveNow();
    session.update((state) => ({ ...state, memory: { ...(state.memory as object), [text + "2"]: { [text]: 1 } } }));
    await session.saveNow();
    const whole = {
      memory: { ...initial.memory, [text + "2"]: { [text]: 1 } },
      step: 0,
      messages: [{ role: "user", content: text }],
    };
    expect(await stateOf(token, session.id)).toEqual(whole);
    const other = opened<Odd>(way, { token, session: session.id });
    await other.saveNow();
    expect(other.state).toEqual(whole);
    // merged with, followed, taken away
    await ask(token, "POST", "/session-snapshot-save", { session_id: session.id, changes: { append: { "/messages": [text] } } });
    session.append("/messages", ["after"]);
    other.update(({ messages }) => ({ messages: messages! }));
    await Promise.all([session.saveNow(), other.saveNow()]);
    const both = await stateOf(token, session.id);
    expect(both).toEqual({ messages: [{ role: "user", content: text }, text, "after"] });
    await Promise.all([session.close(), other.close()]);
  });

  test("an answer that is cut in the middle of a character is whole, for whoever follows and as a message", async () => {
    const token = person();
    const session = opened<Odd>(way, { token });
    const turn = await turnsOf(session).start();
    const filler = "x".repeat(5_000); // sent at once
    turn.write(`\u0000${filler}\ud83d`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    turn.write(`\ude00${filler}`);
    const parts: string[] = [];
    const following = (async () => {
      for await (const { text } of turnsOf(session).follow(turn.id)) parts.push(text);
    })();
    await turn.finish({ changes: { set: { "/memory": { "a\u0000": "\ud800" } } } });
    await following;
    const content = `\u0000${filler}😀${filler}`;
    expect(parts.at(-1)).toBe(content);
    expect(await stateOf(token, session.id)).toEqual({ messages: [{ role: "assistant", content }], memory: { "a\u0000": "\ud800" } });
    await session.close();
  });
});

test("where such text has no place, over PostgREST, the code says so", async () => {
  const session = opened<Odd>("postgrest", { token: person(), initial: { step: 0 } });
  await session.saveNow();
  await expect(session.label("a\u0000b")).rejects.toMatchObject({ code: "not_representable" });
  await expect(session.label("\ud800")).rejects.toMatchObject({ code: "not_representable" });
  expect(session.status.waiting.changes).toBe(0);
  await session.close();
});
