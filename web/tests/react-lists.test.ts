// @vitest-environment jsdom
/** Answers in the making and lists of sessions, as components see them. */

import { act, renderHook } from "@testing-library/react";
import { describe, expect, test } from "vitest";
import { open, type OpenOptions } from "../src/core/open.js";
import { useSessions } from "../src/react/index.js";
import { useTurn } from "../src/react/turns/index.js";
import { lossy } from "./lines.js";
import { quiet, settled, strict } from "./react.js";
import { ask, person, stateOf, world } from "./server.js";
import { turnsOf } from "../src/turns/index.js";

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
