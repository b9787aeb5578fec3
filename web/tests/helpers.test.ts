import { expect, test } from "vitest";
import { authorizedFetch, formatDuration, freshToken, onlyTab, statisticsOf } from "../src/helpers/index.js";
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
