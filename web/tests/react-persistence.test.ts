// @vitest-environment jsdom
/** How sessions save themselves as a component sees it: when, how often, what is told. */

import { act, renderHook } from "@testing-library/react";
import { describe, expect, test } from "vitest";
import { open, type OpenOptions } from "../src/core/open.js";
import type { PageEvent, State } from "../src/core/types.js";
import { formatTimeAgo, useSessionPersistence } from "../src/react/index.js";
import { lossy, standingClock } from "./lines.js";
import { quiet, settled, strict } from "./react.js";
import { stateOf, world } from "./server.js";

/** A session that is there, and how many saves were sent. */
async function there(more: Partial<OpenOptions> = {}) {
  const sent: string[] = [];
  const environment = world({
    fetch: lossy((url) => {
      if (url.endsWith("/session-snapshot-save")) sent.push(url);
      return "pass";
    }),
    ...more.environment,
  });
  const options = quiet({ ...more, environment });
  const session = open(options);
  await session.ready;
  await session.saveNow();
  return { session, sent, token: options.token as string };
}

describe("useSessionPersistence", () => {
  test("saves so long after the last change, and not before", async () => {
    const clock = standingClock();
    const { session, sent } = await there({ debounce: 5_000, maxWait: 30_000, environment: { clock } });
    const { result } = renderHook(() => useSessionPersistence(session), { wrapper: strict });

    act(() => session.set("/step", 1));
    await act(() => clock.pass(4_999));
    expect([sent.length, result.current.waiting.changes]).toEqual([0, 1]);
    await act(() => clock.pass(1));
    await settled(() => result.current.saveCount === 1);

    expect([sent.length, result.current.waiting.changes, result.current.isSaving]).toEqual([1, 0, false]);
  });

  test("saves after 30 s at the latest, however much is still changed", async () => {
    const clock = standingClock();
    const { session, sent } = await there({ debounce: 5_000, maxWait: 30_000, environment: { clock } });
    const { result } = renderHook(() => useSessionPersistence(session));
    for (let second = 0; second < 30; second++) {
      act(() => session.set("/step", second));
      expect(sent.length).toBe(0);
      await act(() => clock.pass(1_000));
    }
    await settled(() => result.current.saveCount === 1);
    expect(sent.length).toBe(1);
  });

  test("sends nothing when nothing is another", async () => {
    const clock = standingClock();
    const { session, sent } = await there({ debounce: 5_000, environment: { clock } });
    renderHook(() => useSessionPersistence(session));
    await act(() => clock.pass(120_000));
    act(() => session.set("/step", 1));
    act(() => session.update(({ step: _, ...others }) => others));
    await act(() => clock.pass(120_000));
    expect(sent.length).toBe(0);
  });

  test("saves when told to, and tells how it went", async () => {
    const { session, token } = await there();
    const { result } = renderHook(() => useSessionPersistence(session));
    expect(result.current).toMatchObject({ isSaving: false, lastSaved: null, saveCount: 0, error: null });

    const before = Date.now();
    act(() => session.append("/messages", ["hi"]));
    const seen: boolean[] = [];
    session.subscribe(() => seen.push(session.status.isSaving));
    await act(() => result.current.saveNow());

    expect(seen).toContain(true);

    expect(result.current).toMatchObject({ isSaving: false, saveCount: 1, error: null });
    expect(result.current.lastSaved).toBeGreaterThanOrEqual(before);
    expect(await stateOf(token, session.id)).toEqual({ messages: ["hi"] });
    await act(() => result.current.saveNow());
    expect(result.current.saveCount).toBe(1);
  });

  test("a save that failed is never shown as saved, and is made up for", async () => {
    let isDown = false;
    const { session, token } = await there({ environment: { fetch: lossy(() => (isDown ? "lost" : "pass")) } });
    const { result } = renderHook(() => useSessionPersistence(session));
    isDown = true;
    act(() => session.set("/step", 1));
    await act(() => result.current.saveNow().catch(() => {}));
    expect(result.current).toMatchObject({ offline: true, saveCount: 0, lastSaved: null, isSaving: false, error: { code: "network" } });
    expect(result.current.waiting.changes).toBe(1);
    isDown = false;
    await act(() => result.current.saveNow());
    expect(result.current).toMatchObject({ offline: false, saveCount: 1, error: null });
    expect(await stateOf(token, session.id)).toEqual({ step: 1 });
  });

  test("saves when the page is hidden", async () => {
    const told = new Set<(event: PageEvent) => void>();
    const page = { hidden: () => false, listen: (listener: (event: PageEvent) => void) => (told.add(listener), () => void told.delete(listener)) };
    const { session, token } = await there({ environment: { page } });
    const { result } = renderHook(() => useSessionPersistence(session));
    act(() => session.set("/step", 7));
    act(() => told.forEach((tell) => tell("hidden")));
    await settled(() => result.current.saveCount === 1);
    expect(await stateOf(token, session.id)).toEqual({ step: 7 });
  });

  test("keeps the app's own state, from its first change on, and not while it is disabled", async () => {
    const { session, token } = await there();
    session.set("/kept", "before");
    await session.saveNow();
    const first: State = { draft: "" };
    const { result, rerender } = renderHook(({ state, enabled }) => useSessionPersistence(session, { state, enabled }), {
      initialProps: { state: first, enabled: true },
      wrapper: strict,
    });
    await act(() => result.current.saveNow());
    expect(await stateOf(token, session.id)).toEqual({ kept: "before" });

    rerender({ state: { draft: "a" }, enabled: false });
    await act(() => result.current.saveNow());
    expect(await stateOf(token, session.id)).toEqual({ kept: "before" });

    const next = { draft: "ab", kept: "after" };
    rerender({ state: next, enabled: true });
    rerender({ state: next, enabled: true });
    await act(() => result.current.saveNow());
    expect(await stateOf(token, session.id)).toEqual(next);
  });

  test("without a session there is nothing to save", async () => {
    const { result } = renderHook(() => useSessionPersistence(null));
    await act(() => result.current.saveNow());
    expect(result.current).toMatchObject({ isSaving: false, saveCount: 0, lastSaved: null, error: null });
  });

  test("renders once for a change, and not for what others render", async () => {
    const { session } = await there();
    let renders = 0;
    const { rerender } = renderHook(() => {
      renders++;
      return useSessionPersistence(session);
    });
    const before = renders;
    act(() => session.set("/step", 1));
    expect(renders).toBe(before + 1);
    rerender();
    expect(renders).toBe(before + 2);
  });
});

describe("formatTimeAgo", () => {
  const now = Date.UTC(2026, 10, 26, 12);
  test.each([
    [null, "never"],
    [undefined, "never"],
    ["no date", "never"],
    [now, "just now"],
    [now + 3_600_000, "just now"],
    [now - 4_000, "just now"],
    [now - 12_000, "12 seconds ago"],
    [now - 59_400, "59 seconds ago"],
    [now - 60_000, "1 minute ago"],
    [now - 3_599_000, "59 minutes ago"],
    [now - 7_200_000, "2 hours ago"],
    [new Date(now - 3 * 86_400_000), "3 days ago"],
    [new Date(now - 70 * 86_400_000).toISOString(), "2 months ago"],
    [now - 800 * 86_400_000, "2 years ago"],
  ])("of %s is %s", (then, said) => expect(formatTimeAgo(then, now, "en")).toBe(said));

  test("in the reader's language", () => expect(formatTimeAgo(now - 7_200_000, now, "de")).toBe("vor 2 Stunden"));
});
