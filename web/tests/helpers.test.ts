import { expect, test } from "vitest";
import {
  authorizedFetch,
  formatDuration,
  freshToken,
  newsLine,
  onlyTab,
  remembered,
  statisticsOf,
  type RememberedOptions,
} from "../src/helpers/index.js";
import type { Locks } from "../src/core/types.js";
import { standingClock, until } from "./lines.js";
import { ask, FUNCTIONS, line, opened, person, tokenFor, world } from "./server.js";

/** Tokens that are good for so many seconds from a clock's time on; how many were got. */
function signIn(now: () => number, seconds: number) {
  const got: string[] = [];
  const get = async (): Promise<string> => {
    got.push(tokenFor({ sub: "ada", exp: now() / 1000 + seconds, jti: got.length }));
    return got.at(-1)!;
  };
  return { got, get };
}

test("freshToken: the same until shortly before its end, then another, got once for all who ask", async () => {
  const clock = standingClock();
  const { got, get } = signIn(clock.now, 3600);
  const token = freshToken(get, { clock });
  expect(token.expiresIn()).toBeNull();
  expect(await token()).toBe(await token());
  expect(token.expiresIn()).toBe(3_600_000);
  await clock.pass(3_539_000);
  await token();
  expect(got).toHaveLength(1);
  await clock.pass(2_000);
  const all = await Promise.all([token(), token(false), token()]);
  expect(new Set(all)).toEqual(new Set([got[1]]));
  expect(got).toHaveLength(2);
});

test("freshToken: one that is short-lived is not got again for every request", async () => {
  const clock = standingClock();
  const { got, get } = signIn(clock.now, 40);
  const token = freshToken(get, { clock });
  await token();
  await clock.pass(29_000);
  await token();
  expect(got).toHaveLength(1);
  await clock.pass(2_000);
  await token();
  expect(got).toHaveLength(2);
});

test("freshToken: one that was kept is looked at first; one that was refused is replaced; a failure is told and tried again", async () => {
  const clock = standingClock();
  const { got, get } = signIn(clock.now, 3600);
  const kept = await get();
  let isDown = false;
  const token = freshToken(async () => (isDown ? Promise.reject(new Error("signed out")) : get()), { first: kept, clock });
  expect(await token()).toBe(kept);
  expect(await token(true)).toBe(got[1]);
  await clock.pass(3_700_000);
  expect(token.expiresIn()).toBe(-100_000);
  isDown = true;
  await expect(token()).rejects.toThrow("signed out");
  isDown = false;
  expect(await token()).toBe(got[2]);
});

test("freshToken: one that does not say when it ends is kept until it is refused", async () => {
  let count = 0;
  const token = freshToken(async () => `opaque ${++count}`);
  expect([await token(), await token(), await token(true)]).toEqual(["opaque 1", "opaque 1", "opaque 2"]);
  expect(token.expiresIn()).toBeNull();
});

test("statisticsOf: what a session comes to, through a bad line and its end", async () => {
  let isDown = false;
  const clock = standingClock();
  const fetch: typeof line = (url, init) => (isDown ? Promise.reject(new TypeError("down")) : line(url, init));
  const owner = person();
  const token = freshToken(async () => owner, { clock: { now: () => Date.now() } });
  const session = opened<{ messages?: string[] }>("functions", { token, environment: world({ fetch }) });
  const read = statisticsOf(session, { token, clock });
  expect(read()).toMatchObject({ active: false, messages: 0, duration: 0, reconnects: 0 });
  await session.saveNow();
  session.append("/messages", ["one", "two"]);
  await clock.pass(5_000);
  expect(read()).toMatchObject({ active: true, id: session.id, messages: 2, duration: 5_000 });
  expect(read().tokenExpiresIn).toBeGreaterThan(3_000_000);

  isDown = true;
  await expect(session.saveNow()).rejects.toThrow();
  isDown = false;
  await until(() => read().reconnects === 1);

  await ask(owner, "DELETE", `/sessions/${session.id}`);
  session.append("/messages", ["three"]);
  await expect(session.saveNow()).rejects.toMatchObject({ code: "session_not_found" });
  expect(read()).toMatchObject({ active: false, messages: 3 });
  await session.close();
});

/** The locks of one browser. */
function browserLocks(): Locks & { gone(): void } {
  const waiting: (() => void)[] = [];
  let isTaken = false;
  const give = (hold: (lock: unknown) => Promise<unknown>): void => {
    isTaken = true;
    void hold({});
  };
  return {
    request: async (_, { ifAvailable }, hold) => {
      if (isTaken && ifAvailable) return hold(null);
      if (isTaken) waiting.push(() => give(hold));
      else give(hold);
      return new Promise<never>(() => {});
    },
    /** The tab that has it is closed. */
    gone() {
      isTaken = false;
      waiting.shift()?.();
    },
  };
}

test("onlyTab: one has it; who waits is told, and has it when that tab is gone", async () => {
  const locks = browserLocks();
  const heard: string[] = [];
  const tab = (name: string) => onlyTab("line", () => heard.push(`${name} waits`), locks).then(() => heard.push(name));
  await tab("first");
  const second = tab("second");
  await until(() => heard.length === 2);
  locks.gone();
  await second;
  expect(heard).toEqual(["first", "second waits", "second"]);
});

test("onlyTab: a page that is refused locks, or has none, has it", async () => {
  await onlyTab("line", undefined, undefined);
  await onlyTab("line", undefined, { request: () => Promise.reject(new Error("SecurityError")) });
});

test("authorizedFetch: asks with the token, once more with another one where it is refused, and no third time", async () => {
  const good = person();
  const asked: (boolean | string)[] = [];
  const list = FUNCTIONS + "/sessions";
  const renewed = authorizedFetch((refresh) => (asked.push(refresh), refresh ? good : "over"));
  const answer = await renewed(list, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name: "mine" }) });
  expect(answer.status).toBe(201);
  expect(await answer.json()).toMatchObject({ name: "mine" });
  expect(asked).toEqual([false, true]);

  const never = authorizedFetch((refresh) => (asked.push(refresh), "over"));
  expect((await never(list)).status).toBe(401);
  expect(asked).toEqual([false, true, false, true]);
  expect((await authorizedFetch(good)(list)).status).toBe(200);
  expect((await authorizedFetch("over")(list)).status).toBe(401);
  expect((await authorizedFetch(null)(list)).status).toBe(401);
});

test("formatDuration: as a clock shows it", () => {
  const shown = [-5_000, 0, 999, 65_000, 3_599_000, 3_600_000, 93_784_000].map(formatDuration);
  expect(shown).toEqual(["0:00", "0:00", "0:01", "1:05", "59:59", "1:00:00", "26:03:04"]);
});

/** A browser's storage. */
function storage(): NonNullable<RememberedOptions["tab"]> {
  const kept = new Map<string, string>();
  return () => ({
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: (key) => void kept.delete(key),
  });
}

test("remembered: for the tab, for the device, and what an address says goes before both", () => {
  const [tab, other, device] = [storage(), storage(), storage()];
  const page = (query = "", place = tab) => remembered("chat of ada", { href: `https://app.example/home${query}`, tab: place, device });
  expect(page().value).toBeUndefined();
  expect(page().keep("one")).toBe(true);
  expect([page().value, page("", other).value]).toEqual(["one", undefined]);

  expect(page("", other).keep("two", "device")).toBe(true);
  expect([page().value, page("", other).value]).toEqual(["one", "two"]);
  page("", other).keep("three", "device"); // other tabs stay in theirs
  expect([page().value, page("", other).value, page("", storage()).value]).toEqual(["one", "three", "three"]);

  expect(page("?session=four").value).toBe("four");
  expect(page().value).toBe("four"); // goes on where its address does not say it
  expect(remembered("chat of ben", { href: "https://app.example/", tab, device }).value).toBeUndefined();

  const here = page();
  here.forget();
  expect([here.value, page().value, page("", storage()).value]).toEqual([undefined, undefined, undefined]);
});

test("remembered: links carry it, also where the browser keeps nothing", () => {
  const refused = (): Storage => {
    throw new DOMException("refused", "SecurityError");
  };
  const chat = remembered("chat", { param: "chat", href: "https://app.example/home?chat=&x=1", tab: refused, device: refused });
  expect(chat.value).toBeUndefined();
  expect(chat.link("/next?user=ada&chat=old#end")).toBe("https://app.example/next?user=ada#end");
  expect(chat.keep("a b&c", "device")).toBe(false);
  expect(chat.value).toBe("a b&c");
  const link = chat.link("/next?user=ada");
  expect(link).toBe("https://app.example/next?user=ada&chat=a+b%26c");
  expect(remembered("chat", { param: "chat", href: link, tab: refused, device: refused }).value).toBe("a b&c");
  chat.forget();
  expect(chat.link("/next")).toBe("https://app.example/next");
});

test("newsLine: a session looks at once when it is told, and when it begins to listen after that", async () => {
  const owner = person();
  const { listen, tell } = newsLine();
  const writer = opened<{ messages?: string[] }>("functions", { token: owner });
  writer.append("/messages", ["one"]);
  await writer.saveNow();
  const say = async (text: string): Promise<void> => {
    writer.append("/messages", [text]);
    await writer.saveNow();
    tell("another session", 100);
    tell(writer.id, writer.number);
  };

  const clock = standingClock(); // no look by itself
  const reader = opened<{ messages?: string[] }>("functions", { token: owner, session: writer.id, listen, poll: 3_600_000, environment: world({ clock }) });
  await reader.ready;
  await until(() => reader.status.isRestored);
  await say("two");
  await until(async () => (await clock.pass(1), reader.state.messages?.length === 2));
  await reader.close();
  await say("three");
  expect(reader.state.messages).toHaveLength(2);

  const told: unknown[] = [];
  const undo = listen(writer.id, (news) => told.push(news));
  undo();
  await say("four");
  expect(told).toEqual([{ kind: "snapshot", number: writer.number - 1 }]);
  await writer.close();
});
