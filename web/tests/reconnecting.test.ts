import { expect, test } from "vitest";
import { reconnecting, type Attempt, type ReconnectingOptions } from "../src/helpers/index.js";
import type { PageEvent } from "../src/core/types.js";
import { standingClock } from "./lines.js";

/** A connection kept up, by a clock that stands and without chance: its tries, and all that was told, in order. */
function keptUp(options: Partial<ReconnectingOptions> = {}, open: (attempt: Attempt) => void | Promise<void> = () => {}) {
  const clock = standingClock();
  const tries: Attempt[] = [];
  const told: string[] = [];
  const listeners = new Set<(event: PageEvent) => void>();
  const page = {
    hidden: () => false,
    listen(listener: (event: PageEvent) => void) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
  const kept = reconnecting(
    (attempt) => {
      tries.push(attempt);
      return open(attempt);
    },
    {
      changed: (connection) => told.push(connection),
      reconnecting: () => told.push("reconnecting"),
      reconnected: () => told.push("reconnected"),
      environment: { clock, page, random: () => 1 },
      ...options,
    },
  );
  const fire = (event: PageEvent): void => listeners.forEach((listener) => listener(event));
  return { kept, clock, tries, told, listeners, fire };
}

test("reconnecting: connects, and again when it is lost; events are told once", async () => {
  const { kept, clock, tries, told } = keptUp();
  expect(kept.connection).toBe("disconnected");
  kept.connect();
  tries[0]!.opened();
  expect(told).toEqual(["connecting", "connected"]);

  tries[0]!.lost();
  expect(tries[0]!.signal.aborted).toBe(true);
  await clock.pass(499);
  expect(tries).toHaveLength(1);
  await clock.pass(1);
  tries[1]!.lost();
  await clock.pass(1_000);
  tries[2]!.opened();
  expect(told).toEqual(["connecting", "connected", "connecting", "reconnecting", "connected", "reconnected"]);
  expect(kept).toMatchObject({ connection: "connected", reconnects: 1 });
});

test("reconnecting: waits twice as long each time, up to the most, and begins anew once it was there", async () => {
  const { kept, clock, tries } = keptUp({ wait: { first: 100, most: 300 } });
  kept.connect();
  for (const wait of [100, 200, 300, 300]) {
    tries.at(-1)!.lost();
    const before = tries.length;
    await clock.pass(wait - 1);
    expect(tries).toHaveLength(before);
    await clock.pass(1);
    expect(tries).toHaveLength(before + 1);
  }
  tries.at(-1)!.opened();
  tries.at(-1)!.lost();
  await clock.pass(100);
  expect(tries).toHaveLength(6);
});

test("reconnecting: up to half of a wait is chance, so that not all pages come back at once", async () => {
  const { kept, clock, tries } = keptUp({});
  const early = keptUp({ environment: { clock, random: () => 0 } });
  kept.connect();
  early.kept.connect();
  tries[0]!.lost();
  early.tries[0]!.lost();
  await clock.pass(250);
  expect([tries.length, early.tries.length]).toEqual([1, 2]);
});

test("reconnecting: what takes too long, throws or rejects is lost; one that opened has all the time", async () => {
  let count = 0;
  const { kept, clock, tries } = keptUp({ timeout: 5_000 }, () => {
    count++;
    if (count === 2) throw new Error("no");
    return count === 3 ? Promise.reject(new Error("no")) : undefined;
  });
  kept.connect();
  await clock.pass(4_999);
  expect(tries[0]!.signal.aborted).toBe(false);
  await clock.pass(1);
  expect(tries[0]!.signal.aborted).toBe(true);
  await clock.pass(500 + 1_000 + 2_000);
  expect(tries).toHaveLength(4);
  tries[3]!.opened();
  await clock.pass(60_000);
  expect(kept.connection).toBe("connected");
});

test("reconnecting: a try that is over is not listened to", async () => {
  const { kept, clock, tries, told } = keptUp();
  kept.connect();
  tries[0]!.lost();
  await clock.pass(500);
  tries[0]!.opened();
  expect(kept.connection).toBe("connecting");
  tries[1]!.opened();
  tries[0]!.lost();
  expect(told.at(-1)).toBe("reconnected");
  expect(kept.connection).toBe("connected");
});

test("reconnecting: disconnected it stays so until it is told to connect; connect twice is connect once", async () => {
  const { kept, clock, tries, told, listeners, fire } = keptUp();
  kept.connect();
  kept.connect();
  tries[0]!.lost();
  kept.disconnect();
  expect(listeners.size).toBe(0);
  fire("online");
  await clock.pass(60_000);
  expect(tries).toHaveLength(1);
  kept.connect();
  tries[1]!.opened();
  kept.disconnect();
  expect(tries[1]!.signal.aborted).toBe(true);
  // it was not lost, but ended: what comes next is no reconnect
  expect(told).toEqual(["connecting", "reconnecting", "disconnected", "connecting", "connected", "disconnected"]);
  expect(kept.reconnects).toBe(0);
});

test("reconnecting: back on the network it tries at once, but leaves a connection that is there alone", async () => {
  const { kept, tries, fire } = keptUp();
  kept.connect();
  tries[0]!.lost();
  fire("offline");
  expect(tries).toHaveLength(1);
  fire("online");
  expect(tries).toHaveLength(2);
  tries[1]!.opened();
  fire("online");
  expect(tries).toHaveLength(2);
});
