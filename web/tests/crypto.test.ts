import { randomBytes, randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { connect } from "../src/core/open.js";
import type { Changes, Json, State, Transport } from "../src/core/types.js";
import { encrypted, importKey, newKey, open, passphraseKey, reseal, type Encryption } from "../src/crypto/index.js";
import { associated, seal, unseal, type Kind } from "../src/crypto/tokens.js";
import { sealChanges, within } from "../src/crypto/values.js";
import { cases } from "./cases.js";
import { ask, over, person, stateOf, ways, world } from "./server.js";
import { turnsOf } from "../src/turns/index.js";

interface Case {
  does: "seal" | "refuse" | "walk" | "walk_changes" | "derive";
  [field: string]: any;
}

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));

describe("the format", () => {
  for (const { name, does, ...one } of cases<Case>("encryption")) {
    if (does === "seal")
      test(`${name}: sealed and opened`, async () => {
        const { session, kind, place, text } = one;
        const key = await importKey(bytes(one["key"]), one["key_name"]);
        expect(new TextDecoder().decode(associated({ session, kind, place }, key.id))).toBe(one["associated"]);
        expect(await seal(text, { session, kind, place }, key, bytes(one["nonce"]))).toBe(one["token"]);
        expect(await unseal(one["token"], { session, kind, place }, new Map([[key.id, key.key]]))).toBe(text);
      });
    if (does === "refuse")
      test(`${name}: refused`, async () => {
        const keys = await Promise.all(Object.entries(one["keys"] as Record<string, string>).map(([id, hex]) => importKey(bytes(hex), id)));
        const { session, kind, place } = one;
        const known = new Map(keys.map(({ id, key }) => [id, key]));
        await expect(unseal(one["token"], { session, kind, place }, known)).rejects.toMatchObject({ code: one["code"], status: 422 });
      });
    if (does === "walk" || does === "walk_changes")
      test(name, async () => {
        const seen: [Kind, string, string][] = [];
        const each = async (value: Json, kind: Kind, place: string): Promise<Json> => {
          seen.push([kind, place, JSON.stringify(value)]);
          return value;
        };
        if (does === "walk") expect(await within(one["state"], "", each)).toEqual(one["state"]);
        else expect(await sealChanges(one["changes"] as Changes, one["after"], each)).toEqual(one["changes"]);
        expect(seen.map(String).sort()).toEqual((one["sealed"] as []).map(String).sort());
      });
    if (does === "derive")
      test(`${name}: its key`, async () => {
        const { passphrase, salt, iterations, check } = one;
        const key = await passphraseKey(passphrase, salt, { iterations });
        expect(key.id).toBe(`k1-${check}`);
        expect((await importKey(bytes(one["key"]))).id).toBe(key.id);
        expect(key.key.extractable).toBe(false);
      });
  }

  test("a key's name and length, and a salt's", async () => {
    await expect(importKey(new Uint8Array(16))).rejects.toThrow("32 bytes");
    await expect(importKey(new Uint8Array(32), "a-b")).rejects.toThrow("name");
    await expect(passphraseKey("p", "short")).rejects.toThrow("salt");
  });
});

const words = (state: unknown): unknown => (state as { messages: { content: string }[] }).messages.map(({ content }) => content);
const message = (content: string): Json => ({ role: "user", content });

describe.each(ways)("a session over %s", (way) => {
  const options = (token: string, encryption: Encryption, more = {}) =>
    over(way, { token, encryption, poll: 0, debounce: 3_600_000, environment: world(), ...more });
  const transportOf = (token: string): Transport => connect(over(way, { token, environment: world() })).transport;
  /** A session of a new person with two messages and a topic. */
  async function made(encryption: Encryption): Promise<{ token: string; id: string }> {
    const token = person();
    const session = open(options(token, encryption));
    session.append("/messages", [message("first secret"), message("second secret")]);
    session.set("/memory", { topic: "third secret", empty: {}, list: ["fourth secret"] } as unknown as Json);
    await session.saveNow();
    await session.close();
    return { token, id: session.id };
  }

  test("is read by whoever has the key, and by nobody else", async () => {
    const key = await newKey();
    const { token, id } = await made({ key });
    const stored = await stateOf(token, id);
    expect(JSON.stringify(stored)).not.toContain("secret");
    expect(Object.keys(stored["memory"] as State).sort()).toEqual(["empty", "list", "topic"]);
    const again = open(options(token, { key }, { session: id }));
    await again.ready;
    await again.saveNow();
    expect(words(again.state)).toEqual(["first secret", "second secret"]);
    expect(again.state["memory"]).toEqual({ topic: "third secret", empty: {}, list: ["fourth secret"] });
  });

  test("shows no token as the last message", async () => {
    const { token, id } = await made({ key: await newKey() });
    expect(await ask(token, "GET", `/sessions/${id}`)).toMatchObject({ message_count: 2, last_message: null });
  });

  test("is merged as any other: two clients at once, lists and topics", async () => {
    const key = await newKey();
    const { token, id } = await made({ key });
    const [a, b] = [open(options(token, { key }, { session: id })), open(options(token, { key }, { session: id }))];
    await Promise.all([a.saveNow(), b.saveNow()]);
    a.append("/messages", [message("of a")]);
    b.append("/messages", [message("of b")]);
    b.set("/memory/topic", "of b");
    a.set("/messages/0", message("changed by a"));
    await a.saveNow();
    await b.saveNow();
    await a.saveNow();
    expect(words(b.state)).toEqual(["changed by a", "second secret", "of a", "of b"]);
    const third = open(options(token, { key }, { session: id }));
    await third.saveNow();
    expect(third.state).toEqual(b.state);
  });

  for (const wrong of ["another key", "a mistyped passphrase's key of the same name"])
    test(`${wrong} shows nothing, saves nothing, destroys nothing`, async () => {
      const right = await importKey(Uint8Array.from(randomBytes(32)));
      const { token, id } = await made({ key: right });
      const before = await stateOf(token, id);
      const key = wrong === "another key" ? await newKey("other") : await newKey();
      const session = open(options(token, { key }, { session: id }));
      session.set("/memory/topic", "overwritten");
      session.append("/messages", [message("mine")]);
      await expect(session.saveNow()).rejects.toMatchObject({ code: "wrong_key" });
      await expect(session.saveNow()).rejects.toMatchObject({ code: "wrong_key" });
      expect(session.status.error).toMatchObject({ code: "wrong_key" });
      expect(session.status.waiting.changes).toBe(2);
      expect(await stateOf(token, id)).toEqual(before);
      const transport = encrypted(transportOf(token), { key });
      const save = { session_id: id, changes: { set: { "/memory/topic": "x" } }, base: 1, idempotency_key: randomUUID() };
      await expect(transport.call("save", save)).rejects.toMatchObject({ code: "wrong_key" });
      expect(await stateOf(token, id)).toEqual(before);
    });

  test.each([
    ["moved to another address", (s: any) => ({ "/memory/other": s.memory.topic })],
    ["moved to another list", (s: any) => ({ "/others": [s.messages[0]] })],
    ["twice in its list", (s: any) => ({ "/messages/1": s.messages[0] })],
    ["a bit changed", (s: any) => ({ "/memory/topic": s.memory.topic.slice(0, -2) + (s.memory.topic.at(-2) === "A" ? "B" : "A") + s.memory.topic.at(-1) })],
    ["not sealed", () => ({ "/messages/0": { role: "user", content: "made up" } })],
    ["not sealed, a number", () => ({ "/step": 1 })],
    ["an item in the place of a part", (s: any) => ({ "/memory/topic": s.messages[0].encrypted })],
  ])("a value %s is refused", async (_, change) => {
    const key = await newKey();
    const { token, id } = await made({ key });
    await ask(token, "POST", "/session-snapshot-save", { session_id: id, changes: { set: change(await stateOf(token, id)) } });
    const session = open(options(token, { key }, { session: id }));
    await expect(session.saveNow()).rejects.toMatchObject({ code: "tampered" });
    // what opened before (the memory, the last messages) may be shown; what was made up is not
    expect(session.status.isRestored).toBe(false);
    expect(JSON.stringify(session.state)).not.toMatch(/made up|step|other/);
    expect(new Set(words({ messages: [], ...session.state }) as string[]).size).toBe((words({ messages: [], ...session.state }) as string[]).length);
  });

  test("an older plain session: taken if that is allowed", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", {});
    await ask(token, "POST", "/session-snapshot-save", { session_id: id, state: { messages: [message("plain")], step: 1 } });
    const key = await newKey();
    const refused = open(options(token, { key }, { session: id }));
    await expect(refused.saveNow()).rejects.toMatchObject({ code: "tampered" });
    const session = open(options(token, { key, allowPlain: true }, { session: id }));
    session.append("/messages", [message("sealed")]);
    await session.saveNow();
    expect(words(session.state)).toEqual(["plain", "sealed"]);
    await reseal(transportOf(token), id, { key, allowPlain: true });
    expect(JSON.stringify(await stateOf(token, id))).not.toContain("plain");
    const strict = open(options(token, { key }, { session: id }));
    await strict.saveNow();
    expect(words(strict.state)).toEqual(["plain", "sealed"]);
  });

  test("a key that changes: the old one opens, the new one seals, and all of it anew when asked", async () => {
    const [old, key] = [await newKey("k1"), await newKey("k2")];
    const { token, id } = await made({ key: old });
    const session = open(options(token, { key, older: [old] }, { session: id }));
    session.append("/messages", [message("new")]);
    await session.saveNow();
    await expect(open(options(token, { key }, { session: id })).saveNow()).rejects.toMatchObject({ code: "wrong_key" });
    const number = await reseal(transportOf(token), id, { key, older: [old] });
    expect(await reseal(transportOf(token), id, { key, older: [old] })).toBe(number);
    const fresh = open(options(token, { key }, { session: id }));
    await fresh.saveNow();
    expect(words(fresh.state)).toEqual(["first secret", "second secret", "new"]);
    expect(fresh.state).toEqual(session.state);
  });

  test("a branch opens where its origin is named", async () => {
    const key = await newKey();
    const { token, id } = await made({ key });
    const origin = open(options(token, { key }, { session: id }));
    const branch = await origin.fork();
    await expect(open(options(token, { key }, { session: branch.id })).saveNow()).rejects.toMatchObject({ code: "tampered" });
    const session = open(options(token, { key, origins: [id] }, { session: branch.id }));
    session.append("/messages", [message("only here")]);
    await session.saveNow();
    expect(words(session.state)).toEqual(["first secret", "second secret", "only here"]);
  });

  test("an answer that is lost is asked for again as it was sealed", async () => {
    const key = await newKey();
    let lost = 1;
    const lossy = world({
      fetch: async (url, init) => {
        const answer = await world().fetch(url, init);
        if (/snapshot/.test(url) && /idempotency/.test(String(init.body)) && lost-- > 0) throw new TypeError("lost");
        return answer;
      },
    });
    const token = person();
    const session = open(options(token, { key }, { environment: lossy }));
    session.append("/messages", [message("once")]);
    await session.saveNow().catch(() => {});
    await session.saveNow();
    expect(words(session.state)).toEqual(["once"]);
    expect((await stateOf(token, session.id))["messages"]).toHaveLength(1);
  });

  test("a turn is sealed word by word, and its message too", async () => {
    const key = await newKey();
    const { token, id } = await made({ key });
    const session = open(options(token, { key }, { session: id }));
    const turn = await turnsOf(session).start();
    turn.write("the answer ");
    turn.write("is secret");
    await turn.finish();
    const raw = await ask(token, "GET", `/sessions/${id}/turns/${turn.id}?after=0`);
    expect(raw.chunks.length).toBeGreaterThan(0);
    expect(JSON.stringify(raw) + JSON.stringify(await stateOf(token, id))).not.toContain("secret");
    const reader = open(options(token, { key }, { session: id }));
    await reader.ready;
    let text = "";
    for await (const progress of turnsOf(reader).follow(turn.id)) text = progress.text;
    expect(text).toBe("the answer is secret");
    await reader.saveNow();
    expect((reader.state["messages"] as Json[]).at(-1)).toEqual({ role: "assistant", content: "the answer is secret" });
  });

  test("history and differences are opened, too", async () => {
    const key = await newKey();
    const { token, id } = await made({ key });
    const session = open(options(token, { key }, { session: id }));
    await session.saveNow();
    const first = session.number;
    session.set("/memory/topic", "changed");
    session.append("/messages", [message("more")]);
    await session.saveNow();
    expect(words(await session.peek({ number: first }))).toEqual(["first secret", "second secret"]);
    const differences = await session.diff(first, session.number);
    expect(differences.map(({ address, before, after }) => [address, before, after])).toEqual([
      ["/memory/topic", "third secret", "changed"],
      ["/messages/2", null, message("more")],
    ]);
    await session.restore({ number: first });
    expect(session.state["memory"]).toMatchObject({ topic: "third secret" });
  });
});
