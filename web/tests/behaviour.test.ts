import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { claimSessions, draftOf, forget, offerSessions, sessionFromUrl } from "../src/helpers/index.js";
import { open } from "../src/core/open.js";
import type { PageEvent } from "../src/core/types.js";
import { storeOf } from "./journal.js";
import { hurriedClock, lossy, standingClock, tabs, until } from "./lines.js";
import { FUNCTIONS, ask, line, opened, over, person, stateOf, tokenFor, ways, world } from "./server.js";

type Chat = { messages?: string[]; step?: number; memory?: Record<string, unknown>; schemaVersion?: number; topic?: string };

describe.each(ways)("over %s", (way) => {
  test("saves 5 s after the last change, at the latest 30 s after the first, only if something differs", async () => {
    const clock = standingClock();
    const session = opened<Chat>(way, { token: person(), environment: world({ clock }), debounce: 5_000, maxWait: 30_000 });
    await session.ready;
    await session.saveNow();
    const saved: number[] = [];
    session.on("saved", () => saved.push(clock.now()));
    session.append("/messages", ["one"]);
    await clock.pass(4_999);
    expect(session.status.isSaving).toBe(false);
    await clock.pass(1);
    await until(() => saved.length === 1);
    for (let second = 0; second < 29; second++) {
      session.update((state) => ({ ...state, step: second }));
      await clock.pass(1_000);
    }
    expect(session.status.isSaving).toBe(false);
    session.set("/step", 99);
    await clock.pass(1_000);
    await until(() => saved.length === 2);
    session.update((state) => ({ ...state }));
    await clock.pass(60_000);
    await session.close();
    expect(saved.length).toBe(2);
  });

  test("two that make the first message at once keep both, and two windows overwrite nothing", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", {});
    const [a, b] = [opened<Chat>(way, { token, session: id }), opened<Chat>(way, { token, session: id })];
    await Promise.all([a.ready, b.ready]);
    a.append("/messages", ["from a"]);
    b.append("/messages", ["from b"]);
    b.set("/topic", "b's");
    await Promise.all([a.saveNow(), b.saveNow()]);
    expect(((await stateOf(token, id))["messages"] as string[]).sort()).toEqual(["from a", "from b"]);
    expect((await stateOf(token, id))["topic"]).toBe("b's");
    await Promise.all([a.close(), b.close()]);
  });

  test("begun while the server is away, and opened again by its id", async () => {
    const token = person();
    const store = storeOf();
    const first = store.page();
    const away = async (): Promise<never> => {
      throw new TypeError("away");
    };
    const session = opened<Chat>(way, { token, environment: world({ fetch: away, journal: () => first }), fields: { name: "Tea" } });
    await session.ready;
    session.append("/messages", ["hello"]);
    const { id } = session;
    await until(() => [...store.records.values()].some(({ pending }) => pending));
    first.kill();

    const again = opened<Chat>(way, { token, session: id, environment: world({ journal: () => store.page() }) });
    await again.ready;
    expect(again.state.messages).toEqual(["hello"]);
    await again.saveNow();
    expect(await stateOf(token, id)).toEqual({ messages: ["hello"] });
    await again.close();
  });

  test.each(["somebody else's", "none"])("an id that is %s gets no session by an edit", async (whose) => {
    const { id } = whose === "none" ? { id: "no-such-id" } : await ask(person(), "POST", "/sessions", {});
    const token = person();
    const session = opened<Chat>(way, { token, session: id });
    session.append("/messages", ["hello"]);
    await expect(session.saveNow()).rejects.toMatchObject({ status: expect.any(Number) });
    expect(session.id).toBe(id);
    expect((await ask(token, "GET", "/sessions")).sessions).toEqual([]);
    await session.close();
  });

  test("what both changed: the app is told, mine stands or what it decides, theirs is in the history", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { topic: "old" } });
    const session = opened<Chat>(way, { token, session: id, resolve: ({ mine, theirs }) => `${mine} & ${theirs}` });
    await session.saveNow();
    await ask(token, "POST", "/session-snapshot-save", { session_id: id, state: { topic: "theirs" } });
    const doubts: unknown[] = [];
    session.on("conflict", (told) => doubts.push(...told.doubts));
    session.set("/topic", "mine");
    await session.saveNow();
    expect(doubts).toEqual([{ address: "/topic", base: "old", mine: "mine", theirs: "theirs" }]);
    expect(await stateOf(token, id)).toEqual({ topic: "mine & theirs" });
    expect((await session.peek({ number: 2 })).topic).toBe("theirs");
    await session.close();
  });

  test("a lost answer is asked for again with the same key: once there, and never shown as saved before", async () => {
    const token = person();
    let isLost = true;
    const keys: string[] = [];
    const fetch = lossy((url, init) => {
      if (!/snapshot-save|create_session_snapshot/.test(url)) return "pass";
      keys.push(/idempotency_key":"([^"]*)/.exec(String(init.body))![1]!);
      return isLost ? "unanswered" : "pass";
    });
    const session = opened<Chat>(way, { token, environment: world({ fetch, clock: hurriedClock }) });
    await session.ready;
    const told: string[] = [];
    session.on("reconnecting", () => told.push("reconnecting"));
    session.on("reconnected", () => told.push("reconnected"));
    session.append("/messages", ["once"]);
    await expect(session.saveNow()).rejects.toMatchObject({ code: "network" });
    expect(session.status).toMatchObject({ offline: true, saveCount: 0, lastSaved: null, error: { code: "network" } });
    expect(session.status.waiting.changes).toBe(1);
    session.append("/messages", ["meanwhile"]);
    isLost = false;
    await until(() => session.status.saveCount === 2 && !session.status.waiting.changes);
    expect(keys[0]).toBe(keys[1]);
    expect(told).toEqual(["reconnecting", "reconnected"]);
    expect(session.status).toMatchObject({ offline: false, error: null });
    expect((await stateOf(token, session.id))["messages"]).toEqual(["once", "meanwhile"]);
    await session.close();
  });

  test("a refused save that comes once more, late, when it would be accepted, is no second save", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { topic: "old" } });
    const refused: [string, RequestInit][] = [];
    const late: number[] = [];
    const fetch: typeof line = async (url, init) => {
      const answer = await line(url, init);
      if (answer.status === 409) refused.push([url, init]);
      else if (/snapshot-save|create_session_snapshot/.test(url)) {
        for (const [again, same] of refused.splice(0)) late.push((await line(again, { ...same, signal: null })).status);
      }
      return answer;
    };
    const session = opened<Chat>(way, { token, session: id, environment: world({ fetch }) });
    await session.saveNow();
    await ask(token, "POST", "/session-snapshot-save", { session_id: id, state: { topic: "theirs" } });
    session.append("/messages", ["once"]);
    session.set("/topic", "mine");
    const saving = session.saveNow();
    session.append("/messages", ["after"]);
    await saving;
    expect(late).toEqual([409]);
    expect(await stateOf(token, id)).toEqual({ messages: ["once", "after"], topic: "mine" });
    await session.close();
  });

  test("a refused save that comes once more before its client could catch up is no second save either", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { topic: "old" } });
    let refused: [string, RequestInit] | undefined;
    let isDead = false;
    const fetch: typeof line = async (url, init) => {
      if (isDead) throw new TypeError("the line is dead");
      const answer = await line(url, init);
      if (answer.status === 409) {
        refused ??= [url, { ...init, signal: null }];
        isDead = true;
      }
      return answer;
    };
    const session = opened<Chat>(way, { token, session: id, environment: world({ fetch, clock: standingClock() }) });
    await session.saveNow();
    const theirs = (topic: string): Promise<unknown> => ask(token, "POST", "/session-snapshot-save", { session_id: id, state: { topic } });
    await theirs("theirs");
    session.append("/messages", ["once"]);
    session.set("/topic", "mine");
    await expect(session.saveNow()).rejects.toMatchObject({ code: "network" });
    await theirs("mine"); // now it would be accepted
    expect((await line(...refused!)).status).toBe(200);
    isDead = false;
    session.append("/messages", ["after"]);
    await session.saveNow();
    expect(await stateOf(token, id)).toEqual({ messages: ["once", "after"], topic: "mine" });
    await session.close();
  });

  test("a save that can never succeed is told, kept, and tried again after the next edit", async () => {
    const session = opened<Chat>(way, { token: person() });
    await session.ready;
    const errors: unknown[] = [];
    session.on("error", ({ error }) => errors.push(error));
    let deep: unknown = 1;
    for (let level = 0; level < 80; level++) deep = [deep];
    session.set("/memory", deep as never);
    await expect(session.saveNow()).rejects.toMatchObject({ code: "nesting_too_deep", status: 422 });
    expect(errors).toHaveLength(1);
    expect(session.status.error?.code).toBe("nesting_too_deep");
    expect(session.status.waiting.changes).toBe(1);
    session.set("/memory", {});
    await session.saveNow();
    expect(session.status.error).toBeNull();
    await session.close();
  });

  test("a token that is over is asked for anew, once, with the same key", async () => {
    const sub = randomUUID();
    const asked: boolean[] = [];
    const token = (refresh: boolean): string => {
      asked.push(refresh);
      return refresh ? tokenFor({ sub }) : tokenFor({ sub, exp: 1 });
    };
    const session = opened<Chat>(way, { token });
    session.append("/messages", ["hi"]);
    await session.saveNow();
    expect(session.status.saveCount).toBe(1);
    expect(asked.filter(Boolean).length).toBeGreaterThan(0);
    await session.close();
    const never = opened<Chat>(way, { token: () => tokenFor({ sub, exp: 1 }) });
    await expect(never.saveNow()).rejects.toMatchObject({ status: 401, code: "invalid_token" });
    await never.close();
  });

  test("history: restored, compared, labelled, branched off; the branch goes its own way", async () => {
    const token = person();
    const session = opened<Chat>(way, { token, initial: { step: 0 } });
    await session.ready;
    for (const step of [1, 2]) {
      session.update((state) => ({ ...state, step }));
      await session.saveNow();
    }
    await session.label("two");
    expect((await session.history()).snapshots.map(({ number, label }) => [number, label])).toEqual([[3, "two"], [2, null], [1, null]]);
    const page = await session.history({ limit: 1 });
    expect((await session.history({ limit: 1, cursor: page.next! })).snapshots[0]!.number).toBe(2);
    expect(await session.diff(1, 2)).toMatchObject([{ address: "/step", before: 0, after: 1 }]);
    await session.restore({ number: 1 });
    expect(session.state.step).toBe(0);
    await session.restore({ label: "two" });
    expect([session.state.step, session.number]).toEqual([2, 5]);
    const branch = opened<Chat>(way, { token, session: (await session.fork({ number: 2, name: "branch" })).id });
    await branch.ready;
    await branch.saveNow();
    branch.append("/messages", ["only here"]);
    await branch.saveNow();
    expect(await stateOf(token, session.id)).toEqual({ step: 2 });
    expect(await stateOf(token, branch.id)).toEqual({ step: 1, messages: ["only here"] });
    await Promise.all([session.close(), branch.close()]);
  });

  test("one session for each key of a person, also called twice at once; a stale id is replaced", async () => {
    const token = person();
    const store = storeOf();
    const inPage = (): { environment: ReturnType<typeof world> } => {
      const page = store.page();
      return { environment: world({ journal: () => page }) };
    };
    const [a, b] = [opened<Chat>(way, { token, key: "config 7", ...inPage() }), opened<Chat>(way, { token, key: "config 7", ...inPage() })];
    await Promise.all([a.saveNow(), b.saveNow()]);
    expect(a.id).toBe(b.id);
    a.append("/messages", ["kept"]);
    await a.saveNow();
    await Promise.all([a.close(), b.close()]);
    const again = opened<Chat>(way, { token, key: "config 7", ...inPage() });
    await again.ready;
    expect([again.id, again.state.messages]).toEqual([a.id, ["kept"]]); // painted before the server was asked
    await again.close();
    await ask(token, "DELETE", `/sessions/${a.id}`);
    const page = store.page();
    const anew = opened<Chat>(way, { token, key: "config 7", environment: world({ journal: () => page, clock: hurriedClock }) });
    await until(() => anew.status.isRestored);
    expect(anew.id).not.toBe(a.id);
    expect(anew.state.messages).toBeUndefined();
    await anew.close();
  });

  test("this tab's own session is the same after a reload, and another in another tab", async () => {
    const token = person();
    const environment = world();
    const first = opened<Chat>(way, { token, tab: "chat", environment });
    first.append("/messages", ["hi"]);
    await first.close();
    const reloaded = opened<Chat>(way, { token, tab: "chat", environment });
    const other = opened<Chat>(way, { token, tab: "chat", environment: world() });
    await Promise.all([reloaded.saveNow(), other.saveNow()]);
    expect([reloaded.id, reloaded.state.messages]).toEqual([first.id, ["hi"]]);
    expect(other.id).not.toBe(first.id);
    await Promise.all([reloaded.close(), other.close()]);
  });

  test("a session that is gone: told, nothing dropped; a clean new one, or with the last messages, if asked for", async () => {
    const shown = [
      ["stop", { messages: ["1", "2", "3", "4"], topic: "tea" }],
      ["new", { messages: [], step: 0 }],
      [{ carry: 2 }, { messages: ["3", "4"], step: 0 }],
    ] as const;
    for (const [onExpired, expected] of shown) {
      const token = person();
      const store = storeOf();
      const { id } = await ask(token, "POST", "/sessions", { state: { messages: ["1", "2", "3"], topic: "tea" } });
      const environment = world({ clock: hurriedClock, journal: () => store.page() });
      const session = opened<Chat>(way, { token, session: id, onExpired, environment, initial: { messages: [], step: 0 } });
      const doubts: unknown[] = [];
      session.on("conflict", (told) => doubts.push(told));
      await session.ready;
      await session.saveNow();
      const gone: string[] = [];
      session.on("expired", ({ session }) => gone.push(session));
      await ask(token, "DELETE", `/sessions/${id}`);
      session.append("/messages", ["4"]);
      await expect(session.saveNow()).rejects.toMatchObject({ code: "session_not_found" });
      expect(gone).toEqual([id]);
      expect(session.state).toEqual(expected);
      if (onExpired !== "stop") {
        session.set("/memory", { topic: "rain" });
        await session.saveNow();
        expect(session.id).not.toBe(id);
        expect(await stateOf(token, session.id)).toEqual({ ...expected, memory: { topic: "rain" } });
        expect(doubts).toEqual([]);
      } else await expect(session.saveNow()).rejects.toMatchObject({ code: "session_not_found" }); // nor is it saved later
      await session.close();
      const kept = [...store.records.values()].filter((record) => record.session === id);
      expect(kept.map(({ pending }) => pending)).toEqual([{ append: { "/messages": ["4"] } }]);
    }
  });

  test("a session that is not there: ready says so", async () => {
    const session = opened(way, { token: person(), session: randomUUID() });
    await expect(session.ready).rejects.toMatchObject({ code: "session_not_found", status: 404 });
    await session.close();
  });

  test("schema versions: an older one is brought up and labelled, a newer one only read", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { topic: "tea" } });
    const migrate = (state: Chat, from: number): Chat => ({ memory: { topic: state.topic, from } });
    const session = opened<Chat>(way, { token, session: id, version: 3, migrate, environment: world({ clock: hurriedClock }) });
    await session.ready;
    await until(() => session.status.saveCount === 1);
    expect(await stateOf(token, id)).toEqual({ memory: { topic: "tea", from: 1 }, schemaVersion: 3 });
    expect((await session.peek({ label: "before version 3" })).topic).toBe("tea");
    const older = opened<Chat>(way, { token, session: id, version: 2 });
    await older.ready;
    await older.saveNow();
    expect(older.status.isReadOnly).toBe(true);
    expect(() => older.set("/topic", "x")).toThrow("read_only");
    await Promise.all([session.close(), older.close()]);
  });

  test("without a copy, the memory and the last messages come first; edits of them find their places", async () => {
    const token = person();
    const messages = Array.from({ length: 300 }, (_, index) => `message ${index}`);
    const { id } = await ask(token, "POST", "/sessions", { state: { messages, memory: { a: 1 }, step: 7 } });
    const session = opened<Chat>(way, { token, session: id });
    let isReady = false;
    void session.ready.then(() => (isReady = true));
    await new Promise<void>((resolve) => session.subscribe(() => session.status.isPartial && resolve()));
    expect([session.state.messages!.length, session.state.messages![0], session.state.step]).toEqual([100, "message 200", undefined]);
    session.set("/messages/99", "edited");
    session.append("/messages", ["new"]);
    expect(isReady).toBe(false); // what an app computes from it would be wrong
    await session.saveNow();
    expect(isReady).toBe(true);
    expect(session.status).toMatchObject({ isPartial: false, isRestored: true });
    expect(await stateOf(token, id)).toEqual({ messages: [...messages.slice(0, 299), "edited", "new"], memory: { a: 1 }, step: 7 });
    await session.close();
  });

  test("follows what others save: by looking, seldom while hidden, at once when it is looked at", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { step: 0 } });
    const clock = standingClock();
    let isHidden = false;
    let looks = 0;
    let fire: (event: PageEvent) => void = () => {};
    const fetch: typeof line = (url, init) => {
      if (/"(p_)?since"/.test(String(init.body))) looks++;
      return line(url, init);
    };
    const page = { hidden: () => isHidden, listen: (hear: (event: PageEvent) => void) => ((fire = hear), () => {}) };
    const session = opened<Chat>(way, { token, session: id, poll: 3_000, environment: world({ clock, fetch, page }) });
    await session.ready;
    await session.saveNow();
    await new Promise((resolve) => setTimeout(resolve, 20));
    await ask(token, "POST", "/session-snapshot-save", { session_id: id, state: { step: 1 } });
    await clock.pass(3_000);
    await until(() => session.state.step === 1);
    isHidden = true;
    await new Promise((resolve) => setTimeout(resolve, 20));
    await clock.pass(3_000);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const before = looks;
    await clock.pass(5_999);
    expect(looks).toBe(before);
    await ask(token, "POST", "/session-snapshot-save", { session_id: id, state: { step: 2 } });
    isHidden = false;
    fire("visible");
    await until(() => session.state.step === 2);
    await session.close();
  });

  test("what waits goes when the page is hidden, in a request that outlives it", async () => {
    const token = person();
    let fire: (event: PageEvent) => void = () => {};
    const alive: unknown[] = [];
    const fetch: typeof line = (url, init) => (init.keepalive && alive.push(url), line(url, init));
    const page = { hidden: () => false, listen: (hear: (event: PageEvent) => void) => ((fire = hear), () => {}) };
    const session = opened<Chat>(way, { token, environment: world({ fetch, page }) });
    await session.saveNow();
    session.append("/messages", ["last words"]);
    fire("hidden");
    expect(alive.length).toBe(way === "functions" ? 1 : 1);
    await until(async () => (await stateOf(token, session.id))["messages"] !== undefined);
    await session.close();
  });

  test("another tab shows what is not saved yet, and neither sends the other's", async () => {
    const token = person();
    const channel = tabs();
    const { id } = await ask(token, "POST", "/sessions", { state: { messages: ["0"] } });
    const tab = () => opened<Chat>(way, { token, session: id, environment: world({ channel }) });
    const [a, b] = [tab(), tab()];
    await Promise.all([a.saveNow(), b.saveNow()]);
    await until(() => a.status.isRestored && b.status.isRestored);
    a.append("/messages", ["a"]);
    await until(() => b.state.messages?.length === 2, 1_000);
    expect(b.status.waiting.changes).toBe(0);
    b.append("/messages", ["b"]);
    await until(() => a.state.messages?.length === 3, 1_000);
    await a.saveNow();
    await until(() => b.number === a.number, 1_000); // told, not asked for
    expect(b.state.messages).toEqual(["0", "a", "b"]);
    await b.saveNow();
    expect((await stateOf(token, id))["messages"]).toEqual(["0", "a", "b"]);
    await until(() => a.state.messages!.join() === "0,a,b" && a.number === b.number, 1_000);
    await Promise.all([a.close(), b.close()]);
  });

  test("a guest's sessions are claimed by the account that signs in", async () => {
    const [guest, account] = [person(), person()];
    const session = opened<Chat>(way, { token: guest, key: "chat" });
    session.append("/messages", ["as a guest"]);
    await session.close();
    const code = await offerSessions(over(way, { token: guest, environment: world() }));
    expect(await claimSessions(over(way, { token: account, environment: world() }), code)).toEqual({ sessions: 1, newKeys: 0 });
    expect((await stateOf(account, session.id))["messages"]).toEqual(["as a guest"]);
    await expect(claimSessions(over(way, { token: account, environment: world() }), code)).rejects.toMatchObject({ code: "offer_not_found" });
  });

  test("a line that is dead, a server that is busy, an answer of nobody's: failures with a code", async () => {
    const answers: [Response | Error, object][] = [
      [new TypeError("dead"), { code: "network", status: 0 }],
      [new Response("<html>", { status: 502 }), { code: "http_502", status: 502 }],
      [new Response("{}", { status: 503, headers: { "Retry-After": "7" } }), { status: 503, retryAfter: 7_000 }],
    ];
    for (const [answer, failure] of answers) {
      const fetch = async (): Promise<Response> => {
        if (answer instanceof Error) throw answer;
        return answer.clone();
      };
      const session = opened(way, { token: person(), environment: world({ fetch, clock: standingClock() }) });
      await expect(session.saveNow()).rejects.toMatchObject(failure);
      void session.close();
    }
    const clock = standingClock();
    const hung = opened(way, { token: person(), timeout: 1_000, environment: world({ fetch: () => new Promise(() => {}), clock }) });
    const saving = expect(hung.saveNow()).rejects.toMatchObject({ code: "network" });
    await new Promise((resolve) => setTimeout(resolve, 10));
    await clock.pass(1_000);
    await saving;
  });
});

test("drafts are kept until they are sent; signing out forgets them", async () => {
  const journal = storeOf().page();
  const options = { url: FUNCTIONS, person: "ada", environment: world({ journal: () => journal }) };
  await draftOf(options, "s").write("half a thou");
  const draft = draftOf(options, "s");
  expect(await draft.read()).toBe("half a thou");
  await expect(draft.send(() => Promise.reject(new Error("no line")))).rejects.toThrow("no line");
  expect(await draft.send(async (text) => text.length)).toBe(11);
  expect(await draft.read()).toBe("");
  await draft.write("more");
  await forget(options);
  expect(await draft.read()).toBe("");
});

test("a session id is found in a URL", () => {
  expect(sessionFromUrl("session", "https://app.example/chat?session=7#x")).toBe("7");
  expect(sessionFromUrl("session", "https://app.example/")).toBeUndefined();
  expect(sessionFromUrl()).toBeUndefined();
});

test("a token that can't be had: ready says so", async () => {
  const session = open({ url: FUNCTIONS, token: () => Promise.reject(new Error("signed out")), environment: world() });
  await expect(session.ready).rejects.toThrow("signed out");
  await expect(session.saveNow()).rejects.toThrow("signed out");
  await session.close();
});

test("importing does nothing, and without a server there is nothing to open", () => {
  expect(() => open({})).toThrow(TypeError);
});
