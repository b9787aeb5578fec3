// @vitest-environment jsdom
/** Answers in the making and lists of sessions, as components see them. */

import { act, renderHook } from "@testing-library/react";
import { describe, expect, test } from "vitest";
import { open, type OpenOptions } from "../src/core/open.js";
import { useSessions, useSnapshot } from "../src/react/index.js";
import { useTurn } from "../src/react/turns/index.js";
import { lossy } from "./lines.js";
import { quiet, settled, strict } from "./react.js";
import { ask, line, person, stateOf, world } from "./server.js";
import { turnsOf } from "../src/turns/index.js";
import type { Inner } from "../src/core/session.js";
import type { Session } from "../src/core/surface.js";

const look = (session: Session): Promise<unknown> => (session as Session & Inner)._inner._look();

async function there(options: OpenOptions = quiet()) {
  const session = open(options);
  await session.ready;
  await session.saveNow();
  return session;
}

describe("useTurn", () => {
  test("shows an answer as it is made here, and what became of it", async () => {
    const options = quiet();
    const session = await there(options);
    const { result } = renderHook(() => useTurn(session), { wrapper: strict });
    expect(result.current).toMatchObject({ turn: null, isRunning: false, error: null });

    const running = await act(() => result.current.start());
    running.write("Once ");
    running.write({ tool: "clock" });
    running.write("upon");
    await act(() => running.finish());
    await settled(() => result.current.turn?.status === "done");

    expect(result.current.turn).toMatchObject({ id: running.id, text: "Once upon", position: 0 });
    expect(result.current.turn?.chunks).toEqual(["Once ", { tool: "clock" }, "upon"]);
    expect(await stateOf(options.token as string, session.id)).toMatchObject({ messages: [{ role: "assistant", content: "Once upon" }] });
    await session.close();
  });

  test("a page that comes in the middle shows it from its beginning", async () => {
    const options = quiet();
    const maker = await there(options);
    const running = await turnsOf(maker).start();
    running.write("first ");
    await new Promise((resolve) => setTimeout(resolve, 1_200)); // flushed by itself

    const reader = await there({ ...options, environment: world(), session: maker.id });
    const { result } = renderHook(() => useTurn(reader), { wrapper: strict });
    await settled(() => result.current.turn?.text === "first ");
    expect(result.current.isRunning).toBe(true);
    running.write("second");
    await running.finish();
    await settled(() => result.current.turn?.status === "done");
    expect(result.current.turn?.text).toBe("first second");
    await Promise.all([maker.close(), reader.close()]);
  });

  test("a question that comes from elsewhere is followed by its answer", async () => {
    const options = quiet();
    const [maker, reader] = [await there(options), await there({ ...options, environment: world() })];
    const follower = await there({ ...options, environment: world(), session: maker.id, poll: 50 });
    const { result } = renderHook(() => useTurn(follower));
    maker.append("/messages", [{ role: "user", content: "and?" }]);
    const running = await turnsOf(maker).start();
    running.write("so");
    await settled(() => result.current.turn?.id === running.id);
    await running.finish();
    await settled(() => result.current.turn?.status === "done");
    await Promise.all([maker, reader, follower].map((session) => session.close()));
  });

  test("stop asks whoever makes it, and what was said stays", async () => {
    const options = quiet();
    const maker = await there(options);
    const running = await turnsOf(maker).start();
    running.write("a long ");
    const reader = await there({ ...options, environment: world(), session: maker.id });
    const { result } = renderHook(() => useTurn(reader));
    await settled(() => result.current.isRunning);
    await act(() => result.current.stop());
    running.write("story");
    await settled(() => running.signal.aborted);
    await running.finish();
    await settled(() => result.current.turn?.status === "stopped");
    expect(await stateOf(options.token as string, maker.id)).toMatchObject({ messages: [{ content: "a long story", status: "stopped" }] });
    await Promise.all([maker.close(), reader.close()]);
  });

  test("a component that goes follows no more; without a session nothing runs", async () => {
    const { result, unmount } = renderHook(() => useTurn(null));
    await expect(result.current.start()).rejects.toThrow(/no session/);
    unmount();
  });
});

/** Two clients of a session as a page shows it: messages, and under them what the hook says. */
describe("useTurn: shown", () => {
  type Shown = { messages: string[]; shown: string | null };

  /** A page that looks at a session of its own environment, whatever it has rendered, and the stream's gate. */
  async function reading(maker: Awaited<ReturnType<typeof there>>, options: OpenOptions) {
    let isOpen = true;
    const gate = { close: () => void (isOpen = false), open: () => void (isOpen = true) };
    const held: typeof fetch = async (url, init) => {
      // news of the turn is late, or that of the state
      while (!isOpen && /\/turns\//.test(String(url))) await new Promise((resolve) => setTimeout(resolve, 5));
      return line(String(url), init ?? {});
    };
    const polled = async (url: string, init: RequestInit): Promise<Response> =>
      new Headers(init.headers).get("Accept") === "text/event-stream" ? new Response(null, { status: 204 }) : held(url, init);
    const session = await there({ ...options, environment: world({ fetch: polled }), session: maker.id });
    const frames: Shown[] = [];
    const { result } = renderHook(() => {
      const turn = useTurn(session);
      const messages = ((useSnapshot(session)!.state["messages"] ?? []) as { content: string }[]).map(({ content }) => content);
      frames.push({ messages, shown: turn.shown });
      return turn;
    });
    const last = (): Shown => frames.at(-1)!;
    return { session, result, frames, gate, last };
  }

  const told = async (result: { current: { turn: { text: string } | null } }, text: string): Promise<void> =>
    settled(() => result.current.turn?.text === text);

  /** The answer is in every frame from the first in which it is, once. */
  function continuous(frames: Shown[], words: string): void {
    const times = frames.map(({ messages, shown }) => messages.filter((content) => content.startsWith(words)).length + (shown?.startsWith(words) ? 1 : 0));
    const first = times.indexOf(1);
    expect(first).toBeGreaterThanOrEqual(0);
    expect(times.slice(first).every((count) => count === 1), JSON.stringify(times)).toBe(true);
  }

  test.each([
    ["made of its text", "Green or ", undefined],
    ["of the app's own making, without an id", "Green or ", { role: "assistant", content: "Green or black? Both." }],
    ["in parts", 'Green or "bl', { role: "assistant", content: [{ type: "text", text: 'Green or "black"?' }] }],
    ["without a word before", "", { role: "assistant", content: "Green." }],
  ])("an answer %s whose message comes before its end is shown once", async (_, words, message) => {
    const options = quiet();
    const maker = await there(options);
    maker.append("/messages", [{ role: "user", content: "which?" }]);
    const running = await turnsOf(maker).start();
    const { session, result, gate, last } = await reading(maker, options);
    await settled(() => result.current.isRunning);
    expect(last().shown).toBe(""); // it is known that it runs before there is a word
    if (words) running.write(words);
    await settled(() => result.current.shown === words);
    gate.close();
    await running.finish(message ? { message } : {});
    await look(session);
    await settled(() => last().messages.length === 2);
    expect(result.current.isRunning).toBe(true); // as far as this page knows
    expect(last().shown).toBe(null);
    gate.open();
    await settled(() => !result.current.isRunning);
    expect(last().shown).toBe(null);
    await Promise.all([maker.close(), session.close()]);
  });

  test("what others say meanwhile ends nothing; an answer like an earlier one is none", async () => {
    const options = quiet();
    const maker = await there(options);
    maker.append("/messages", [{ role: "user", content: "hi" }, { role: "assistant", content: "Hello!" }, { role: "user", content: "hi" }]);
    const running = await turnsOf(maker).start();
    const { session, result, last } = await reading(maker, options);
    running.write("Hello");
    await told(result, "Hello");
    expect(last().shown).toBe("Hello");
    maker.append("/messages", [{ role: "user", content: "Hello to you" }]);
    await maker.saveNow();
    await look(session);
    await settled(() => last().messages.length === 4);
    expect(last().shown).toBe("Hello");
    running.write("!");
    await running.finish();
    await settled(() => last().messages.length === 5 && last().shown === null);
    await Promise.all([maker.close(), session.close()]);
  });

  test("an answer that is over stays until its message is here", async () => {
    const options = quiet();
    const maker = await there(options);
    const running = await turnsOf(maker).start();
    const { session, result, frames, last } = await reading(maker, options);
    running.write("Green or black?");
    await running.finish();
    await settled(() => result.current.turn?.status === "done" && last().messages.length === 1);
    continuous(frames, "Green");
    expect(last()).toEqual({ messages: ["Green or black?"], shown: null });
    await Promise.all([maker.close(), session.close()]);
  });

  test("one that was over before is not shown, and does not look as if it ran", async () => {
    const options = quiet();
    const maker = await there(options);
    const running = await turnsOf(maker).start();
    running.write("Green or black?");
    await running.finish();
    const { session, result, frames } = await reading(maker, options);
    await settled(() => result.current.turn?.status === "done");
    act(() => result.current.follow(running.id));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(frames.every(({ shown }) => shown === null)).toBe(true);
    await Promise.all([maker.close(), session.close()]);
  });

  test("nothing is asked of a session that the server has not heard of", async () => {
    const asked: string[] = [];
    const watched: typeof line = (url, init) => (asked.push(url), line(url, init));
    const session = open(quiet({ environment: world({ fetch: watched }), poll: 0 }));
    const { result } = renderHook(() => useTurn(session));
    await act(() => session.saveNow());
    await settled(() => asked.some((url) => url.includes("/turns/latest")));
    expect(asked.findIndex((url) => url.includes("/turns/"))).toBeGreaterThan(asked.findIndex((url) => url.endsWith("/sessions")));
    expect(result.current).toMatchObject({ shown: null, error: null });
    await session.close();
  });
});

describe("useSessions", () => {
  const listed = (options: OpenOptions, more: Partial<Parameters<typeof useSessions>[0]> = {}) =>
    renderHook((props: Parameters<typeof useSessions>[0]) => useSessions(props), { initialProps: { ...options, poll: 0, ...more }, wrapper: strict });

  test("lists, finds, renames, archives and deletes", async () => {
    const token = person();
    for (const name of ["tea", "trains"]) await ask(token, "POST", "/sessions", { name, state: { messages: [{ role: "user", content: `about ${name}` }] } });
    const options = quiet({ token });
    const { result, rerender } = listed(options);
    expect(result.current.isLoading).toBe(true);
    await settled(() => result.current.sessions.length === 2);
    expect(result.current.sessions.map(({ name }) => name)).toEqual(["trains", "tea"]);
    expect(result.current.sessions[0]).toMatchObject({ last_message: "about trains", my_role: "owner" });
    const [trains, tea] = result.current.sessions.map(({ id }) => id) as [string, string];

    await act(() => result.current.rename(tea, "green tea"));
    await settled(() => result.current.sessions.some(({ name }) => name === "green tea"));
    await act(() => result.current.change(trains, { archived: true }));
    expect(result.current.sessions.map(({ id }) => id)).toEqual([tea]);
    rerender({ ...options, poll: 0, archived: "all" });
    await settled(() => result.current.sessions.length === 2);
    rerender({ ...options, poll: 0, archived: "all", search: "trains" });
    await settled(() => result.current.sessions.length === 1);
    await act(() => result.current.remove(trains));
    expect(result.current.sessions).toEqual([]);
  });

  test("lists those of one app, by the beginning of their keys", async () => {
    const token = person();
    for (const key of ["notes:1", "notes:2", "chat:1"]) await ask(token, "POST", "/sessions", { key });
    const { result } = listed(quiet({ token }), { keyPrefix: "notes:" });
    await settled(() => result.current.sessions.length === 2);
    expect(result.current.sessions.map(({ key }) => key)).toEqual(["notes:2", "notes:1"]);
  });

  test("what did not change stays the same object", async () => {
    const token = person();
    for (const name of ["a", "b"]) await ask(token, "POST", "/sessions", { name });
    const { result } = listed(quiet({ token }));
    await settled(() => result.current.sessions.length === 2);
    const [, a] = result.current.sessions;
    await act(() => result.current.rename(result.current.sessions[0]!.id, "c"));
    expect(result.current.sessions.find(({ name }) => name === "a")).toBe(a);
  });

  test("more when asked for", async () => {
    const token = person();
    for (const name of ["a", "b", "c"]) await ask(token, "POST", "/sessions", { name });
    const { result } = listed(quiet({ token }), { limit: 2 });
    await settled(() => result.current.hasMore);
    act(() => result.current.loadMore());
    await settled(() => result.current.sessions.length === 3);
    expect(result.current.hasMore).toBe(false);
  });

  test("a server that is away is told, and what is shown stays", async () => {
    let isDown = false;
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { name: "a" });
    const { result } = listed(quiet({ token, environment: world({ fetch: lossy(() => (isDown ? "lost" : "pass")) }) }));
    await settled(() => result.current.sessions.length === 1);
    isDown = true;
    await act(() => result.current.refresh());
    expect(result.current.error).toMatchObject({ code: "network" });
    expect(result.current.sessions).toHaveLength(1);
    await expect(result.current.remove(id)).rejects.toMatchObject({ code: "network" });
    isDown = false;
    await act(() => result.current.refresh());
    await settled(() => result.current.error === null);
  });
});
