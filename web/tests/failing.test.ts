/** Tokens that are over, refreshes that fail, requests that hang: nothing is lost, and nothing is there twice. */

import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { lossy, standingClock, until } from "./lines.js";
import { ask, line, opened, stateOf, tokenFor, ways, world } from "./server.js";
import { turnsOf } from "../src/turns/index.js";

type Chat = { messages?: string[] };

const isSave = (url: string): boolean => /snapshot-save|create_session_snapshot/.test(url);

/** Who gives tokens: they are over, and a refresh gives a stale one or none, or works. */
class Auth {
  readonly sub = randomUUID();
  isOver = false;
  refresh: "stale" | "fails" | "works" = "works";
  refreshes = 0;

  readonly token = async (again: boolean): Promise<string> => {
    if (again) this.refreshes++;
    if (again && this.refresh === "fails") throw new Error("the auth server is away");
    if (again && this.refresh === "works") this.isOver = false;
    return this.isOver ? tokenFor({ sub: this.sub, exp: 1 }) : this.good();
  };
  /** One for whoever looks. */
  good(): string {
    return tokenFor({ sub: this.sub });
  }
}

describe.each(ways)("over %s", (way) => {
  test.each(["stale", "fails"] as const)("a token is over in between, the refresh %s, then works: all is saved, once", async (refresh) => {
    const auth = new Auth();
    const session = opened<Chat>(way, { token: auth.token, person: "ada" });
    session.append("/messages", ["before"]);
    await session.saveNow();
    Object.assign(auth, { isOver: true, refresh });
    const told: string[] = [];
    session.on("reconnecting", ({ error }) => told.push(error.code));
    session.on("reconnected", () => told.push("reconnected"));
    session.append("/messages", ["meanwhile"]);
    await expect(session.saveNow()).rejects.toMatchObject({ code: refresh === "stale" ? "invalid_token" : "network" });
    session.append("/messages", ["later"]);
    expect(session.status).toMatchObject({ saveCount: 1, waiting: { changes: 1 }, error: { code: told[0] } });
    auth.refresh = "works";
    await until(() => !session.status.waiting.changes);
    expect(told.at(-1)).toBe("reconnected");
    expect(session.status.error).toBeNull();
    expect((await stateOf(auth.good(), session.id))["messages"]).toEqual(["before", "meanwhile", "later"]);
    await session.close();
  });

  test.each(["stale", "fails"] as const)("a token is over in the middle of an answer, the refresh %s, then works: it is whole", async (refresh) => {
    const auth = new Auth();
    const session = opened<Chat>(way, { token: auth.token, person: "ada" });
    const turn = await turnsOf(session).start();
    turn.write("one ".padEnd(5_000, "x"));
    const kept = async (): Promise<string[]> => (await ask(auth.good(), "GET", `/sessions/${session.id}/turns/${turn.id}?after=0`)).chunks;
    await until(async () => (await kept()).length === 1);
    Object.assign(auth, { isOver: true, refresh, refreshes: 0 });
    turn.write("two ".padEnd(5_000, "y"));
    await until(() => auth.refreshes >= 2);
    expect(turn.signal.aborted).toBe(false);
    auth.refresh = "works";
    await turn.finish();
    const [message] = (await stateOf(auth.good(), session.id))["messages"] as unknown as { content: string }[];
    expect(message!.content).toBe("one ".padEnd(5_000, "x") + "two ".padEnd(5_000, "y"));
    await session.close();
  });

  test.each(["the line", "the auth server"])("%s hangs while it saves: it is asked again with its key, and all is there once", async (what) => {
    const sub = randomUUID();
    const clock = standingClock();
    let isHanging = false;
    const keys: string[] = [];
    const hang = <T>(): Promise<T> => new Promise(() => {});
    const fetch: typeof line = async (url, init) => {
      if (!isSave(url)) return line(url, init);
      keys.push(/idempotency_key":"([^"]*)/.exec(String(init.body))![1]!);
      const answer = await line(url, init);
      return isHanging ? hang() : answer; // it came there, and nothing comes back
    };
    const token = (): string | Promise<string> => (isHanging && what === "the auth server" ? hang() : tokenFor({ sub }));
    const session = opened<Chat>(way, { token, person: "ada", timeout: 60_000, environment: world({ clock, fetch }) });
    await session.saveNow();
    isHanging = true;
    session.append("/messages", ["once"]);
    const saving = expect(session.saveNow()).rejects.toMatchObject({ code: "network" });
    await until(() => session.status.isSaving && (what !== "the line" || keys.length === 1));
    await clock.pass(59_999);
    expect(session.status.isSaving).toBe(true);
    await clock.pass(1);
    await saving;
    expect(session.status).toMatchObject({ isSaving: false, offline: true, saveCount: 0, waiting: { changes: 1 } });
    isHanging = false;
    await until(async () => (await clock.pass(100), session.status.saveCount === 1)); // it asks again by itself
    expect(new Set(keys).size).toBe(1);
    expect((await stateOf(tokenFor({ sub }), session.id))["messages"]).toEqual(["once"]);
    await session.close();
  });

  test("an answer that has begun and does not end is given up as well", async () => {
    const sub = randomUUID();
    const clock = standingClock();
    let isHanging = true;
    const fetch = lossy(() => "pass", async (url, init) => {
      const answer = await line(url, init);
      return isHanging ? new Response(new ReadableStream(), { status: answer.status, headers: answer.headers }) : answer;
    });
    const session = opened<Chat>(way, { token: tokenFor({ sub }), timeout: 60_000, environment: world({ clock, fetch }) });
    session.append("/messages", ["once"]);
    const saving = expect(session.saveNow()).rejects.toMatchObject({ code: "network" });
    let isOver = false;
    void saving.then(() => (isOver = true));
    await until(async () => (await clock.pass(60_000), isOver));
    isHanging = false;
    await until(async () => (await clock.pass(100), !session.status.waiting.changes));
    expect((await stateOf(tokenFor({ sub }), session.id))["messages"]).toEqual(["once"]);
    await session.close();
  });
});
