// @vitest-environment jsdom
/** An agent's session as a component has it: made, opened, restored, changed, run, left. */

import { act, renderHook } from "@testing-library/react";
import { describe, expect, test } from "vitest";
import { open, type OpenOptions } from "../src/core/open.js";
import type { Session } from "../src/core/surface.js";
import { useAutoRestore, useFreeAgentSession, useSessionRestore } from "../src/react/index.js";
import { lossy } from "./lines.js";
import { quiet, settled, strict } from "./react.js";
import { ask, person, stateOf, world } from "./server.js";

const agent = (options: OpenOptions) => renderHook((props: OpenOptions) => useFreeAgentSession(props), { initialProps: options, wrapper: strict });

/** A session that somebody saved before. */
async function saved(state: Record<string, unknown>, token = person()): Promise<{ token: string; id: string }> {
  const { id } = await ask(token, "POST", "/sessions", { state });
  return { token, id };
}

describe("useFreeAgentSession", () => {
  test("has no session before one is made, and an empty memory", () => {
    const { result } = agent(quiet());
    expect(result.current).toMatchObject({ session: null, sessionId: null, isLoading: false, isRestored: false, error: null });
    expect(result.current.sessionState).toEqual({
      messages: [],
      memory: { blackboard: {}, scratchpad: {}, attributes: {} },
      currentStep: 0,
      status: "idle",
      isRunning: false,
      lastError: null,
    });
    expect(() => result.current.addMessage("hi")).toThrow(/no session/);
    expect(() => result.current.updateStatus("paused")).toThrow(/no session/);
  });

  test("makes one, on the server at once, and its first words are the memory's shape", async () => {
    const options = quiet();
    const { result } = agent(options);
    const id = await act(() => result.current.createSession({ name: "Kyoto" }));
    expect(result.current).toMatchObject({ sessionId: id, isRestored: true, isLoading: false });
    expect(await stateOf(options.token as string, id)).toEqual({ messages: [], memory: { blackboard: {}, scratchpad: {}, attributes: {} }, currentStep: 0 });
    expect(await ask(options.token as string, "GET", `/sessions/${id}`)).toMatchObject({ name: "Kyoto" });
  });

  test("adds messages in order, and they are saved", async () => {
    const options = quiet();
    const { result } = agent(options);
    const id = await act(() => result.current.createSession());
    act(() => {
      result.current.addMessage("one");
      result.current.addMessage({ role: "assistant", content: "two", model: "m" });
      result.current.addMessage("three");
    });
    const said = [
      { role: "user", content: "one" },
      { role: "assistant", content: "two", model: "m" },
      { role: "user", content: "three" },
    ];
    expect(result.current.sessionState.messages).toEqual(said);
    await act(() => result.current.session!.saveNow());
    expect((await stateOf(options.token as string, id))["messages"]).toEqual(said);
  });

  test("opens the one that it is given, memory and step and all, also with other fields missing", async () => {
    const state = { messages: ["hi"], memory: { blackboard: { train: "9:40" } }, currentStep: 4, more: { of: "the app's" } };
    const { token, id } = await saved(state);
    const { result } = agent(quiet({ token, session: id }));
    expect(result.current.isLoading || result.current.session === null).toBe(true);
    await settled(() => result.current.isRestored);
    expect(result.current.sessionState).toMatchObject({
      messages: ["hi"],
      memory: { blackboard: { train: "9:40" }, scratchpad: {}, attributes: {} },
      currentStep: 4,
    });
    await act(() => result.current.session!.saveNow());
    expect(await stateOf(token, id)).toEqual(state);
  });

  test("loads another one, and then that one is changed", async () => {
    const token = person();
    const [first, second] = [await saved({ messages: ["a"] }, token), await saved({ messages: ["b"] }, token)];
    const { result } = agent(quiet({ token, session: first.id }));
    await settled(() => result.current.isRestored);
    await act(() => result.current.loadSession(second.id));
    await settled(() => result.current.isRestored);
    act(() => void result.current.addMessage({ role: "user", content: "c" }));
    await act(() => result.current.session!.saveNow());
    expect(result.current.sessionId).toBe(second.id);
    expect(await stateOf(token, first.id)).toEqual({ messages: ["a"] });
    expect((await stateOf(token, second.id))["messages"]).toEqual(["b", { role: "user", content: "c" }]);
  });

  test("another id in the options is another session; the one just made is the same one", async () => {
    const options = quiet();
    const { result, rerender } = agent(options);
    const id = await act(() => result.current.createSession());
    const made = result.current.session;
    rerender({ ...options, session: id });
    expect(result.current.session).toBe(made);
    const other = await saved({ messages: ["b"] }, options.token as string);
    rerender({ ...options, session: other.id });
    await settled(() => result.current.sessionId === other.id && result.current.isRestored);
    expect(result.current.sessionState.messages).toEqual(["b"]);
    rerender(options);
    await settled(() => result.current.session === null);
  });

  test("with a key, everybody who asks at once has the same one", async () => {
    const token = person();
    const hooks = [1, 2, 3].map(() => agent(quiet({ token, key: "tutor" })));
    for (const { result } of hooks) await settled(() => result.current.isRestored);
    expect(new Set(hooks.map(({ result }) => result.current.sessionId)).size).toBe(1);
  });

  test.each([
    ["that never was", async () => crypto.randomUUID(), "session_not_found"],
    ["of somebody else", async () => (await saved({ secret: 1 })).id, "session_not_found"],
  ])("a session %s says so and shows nothing", async (_, other, code) => {
    const { result } = agent(quiet({ session: await other() }));
    await settled(() => result.current.error !== null);
    expect(result.current.error).toMatchObject({ code });
    expect(result.current.isLoading).toBe(false);
    expect(result.current.sessionState.messages).toEqual([]);
    let loading!: Promise<void>;
    act(() => void (loading = result.current.loadSession(crypto.randomUUID())));
    await expect(loading).rejects.toMatchObject({ code });
  });

  test("the server away: what is said is kept, and there when it is back", async () => {
    let isDown = false;
    const { token, id } = await saved({ messages: [] });
    const environment = world({ fetch: lossy(() => (isDown ? "lost" : "pass")) });
    const { result } = agent(quiet({ token, session: id, environment }));
    await settled(() => result.current.isRestored);
    isDown = true;
    act(() => void result.current.addMessage("hello?"));
    await act(() => result.current.session!.saveNow().catch(() => {}));
    expect(result.current.error).toMatchObject({ code: "network" });
    expect(result.current.sessionState.messages).toHaveLength(1);
    isDown = false;
    await act(() => result.current.session!.saveNow());
    expect(result.current.error).toBeNull();
    expect((await stateOf(token, id))["messages"]).toEqual([{ role: "user", content: "hello?" }]);
  });

  test("runs an agent: running, its messages, idle; what it returns is the result", async () => {
    const options = quiet();
    const { result } = agent(options);
    const id = await act(() => result.current.createSession());
    let go!: () => void;
    let seen: unknown;
    let running!: Promise<string>;
    act(() => {
      running = result.current.executeAgent(async (run) => {
        run.addMessage({ role: "assistant", content: "thinking" });
        await new Promise<void>((resolve) => (go = resolve));
        seen = run.state.messages;
        return "done";
      });
    });
    expect(result.current.sessionState).toMatchObject({ isRunning: true, status: "running" });
    act(() => void result.current.addMessage("meanwhile"));
    go();
    expect(await act(() => running)).toBe("done");
    expect(result.current.sessionState).toMatchObject({ isRunning: false, status: "idle", lastError: null });
    expect(seen).toEqual([{ role: "assistant", content: "thinking" }, { role: "user", content: "meanwhile" }]);
    await act(() => result.current.session!.saveNow());
    expect(await stateOf(options.token as string, id)).toMatchObject({ status: "idle", messages: seen as never });
  });

  test("an agent that fails: its error is kept and thrown on", async () => {
    const { result } = agent(quiet());
    await act(() => result.current.createSession());
    let failing!: Promise<unknown>;
    act(() => void (failing = result.current.executeAgent(() => Promise.reject(new Error("no tea")))));
    await expect(failing).rejects.toThrow("no tea");
    await settled(() => !result.current.sessionState.isRunning);
    expect(result.current.sessionState).toMatchObject({ status: "error", lastError: "no tea", isRunning: false });
    act(() => result.current.updateStatus("completed"));
    expect(result.current.sessionState).toMatchObject({ status: "completed", lastError: null });
  });

  test("a component that goes stops its agent and loses no word", async () => {
    const options = quiet();
    const { result, unmount } = agent(options);
    const id = await act(() => result.current.createSession());
    let signal!: AbortSignal;
    act(() => {
      void result.current.executeAgent((run) => ((signal = run.signal), new Promise(() => {})));
      result.current.addMessage("last words");
    });
    unmount();
    expect(signal.aborted).toBe(true);
    await settled(async () => ((await stateOf(options.token as string, id))["messages"] as unknown[]).length === 1);
  });

  test("the same state is the same object: nothing is made anew at a render", async () => {
    const { token, id } = await saved({ messages: ["a"] });
    const { result, rerender } = agent(quiet({ token, session: id }));
    await settled(() => result.current.isRestored);
    const before = result.current.sessionState;
    rerender(quiet({ token, session: id }));
    expect(result.current.sessionState).toBe(before);
  });
});

describe("useAutoRestore", () => {
  test("opens with the component, restores, and closes with it", async () => {
    const { token, id } = await saved({ messages: ["a"] });
    const { result, unmount } = renderHook(() => useAutoRestore(quiet({ token, session: id })), { wrapper: strict });
    await settled(() => result.current.isRestored);
    expect(result.current).toMatchObject({ state: { messages: ["a"] }, isRestoring: false, error: null });
    expect(result.current.metadata).toMatchObject({ number: 1, from: "server", version: null });
    const session = result.current.session as Session;
    session.append("/messages", ["b"]);
    unmount();
    await settled(async () => ((await stateOf(token, id))["messages"] as unknown[]).length === 2);
  });

  test("not enabled: nothing is opened until it is", async () => {
    const { token, id } = await saved({ messages: ["a"] });
    const hook = renderHook(({ enabled }) => useAutoRestore({ ...quiet({ token, session: id }), enabled }), { initialProps: { enabled: false } });
    expect(hook.result.current).toMatchObject({ session: null, state: null, isRestoring: false, metadata: null });
    hook.rerender({ enabled: true });
    await settled(() => hook.result.current.isRestored);
  });
});

describe("useSessionRestore", () => {
  test("brings an old version to the front; a version that is not there says so", async () => {
    const options = quiet();
    const session = open(options);
    await session.ready;
    for (const message of ["a", "b", "c"]) {
      session.append("/messages", [message]);
      await session.saveNow();
    }
    const { result } = renderHook(() => useSessionRestore(session), { wrapper: strict });
    const first = session.number - 1;

    await act(() => result.current.restore({ number: first }));

    expect(session.state).toEqual({ messages: ["a", "b"] });
    expect(result.current).toMatchObject({ isRestoring: false, error: null, metadata: { version: { number: first } } });
    await act(() => result.current.restore({ label: "never given" }).catch(() => {}));
    expect(result.current.error).toMatchObject({ code: "snapshot_not_found" });
    expect(session.state).toEqual({ messages: ["a", "b"] });
    await session.close();
  });

  test("without a session there is nothing to restore", async () => {
    const { result } = renderHook(() => useSessionRestore(null));
    expect(result.current).toMatchObject({ isRestoring: false, isRestored: false, metadata: null });
    await expect(result.current.restore({ number: 1 })).rejects.toThrow(/no session/);
  });
});
