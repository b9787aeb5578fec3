/**
 * Clients that edit at random, on lines that lose, double and delay answers, in tabs that are killed and frozen, while
 * old numbers are pruned; the real server is the oracle. In the end all are equal to it, and each word is there once.
 *
 * ASYOUWERE_WEB_SEQUENCES   how many sequences; 200 by default
 * ASYOUWERE_WEB_SEED        the first one's seed
 */

import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import type { Session } from "../src/core/surface.js";
import type { PageEvent, State } from "../src/core/types.js";
import { storeOf } from "./journal.js";
import { hurriedClock, lossy, until } from "./lines.js";
import { randomOf } from "./random.js";
import { FUNCTIONS, ask, line, opened, stateOf, tokenFor, world, ways, type Way } from "./server.js";

const SEQUENCES = Number(process.env["ASYOUWERE_WEB_SEQUENCES"] ?? 200);
const SEED = Number(process.env["ASYOUWERE_WEB_SEED"] ?? 1);
const LANES = 6;
const service = tokenFor({ role: "service_role" });

type Chat = State & { messages?: string[]; topics?: State; step?: number };

/** One page load. */
interface Tab {
  session: Session<Chat>;
  fire(event: PageEvent): void;
  kill(): void;
  freeze(): void;
}

async function play(seed: number): Promise<void> {
  const random = randomOf(seed);
  const chance = (of: number): boolean => random() < of;
  const token = tokenFor({ sub: randomUUID() });
  const { id } = await ask(token, "POST", "/sessions", { id: randomUUID() });
  const way: Way = ways[seed % ways.length]!;
  const written = new Map<string, string>(); // token of a message -> as it was written last
  const log: string[] = [];
  let isBad = true; // the line
  let count = 0;

  let pages = 0;
  const tabOf = (store: ReturnType<typeof storeOf>): Tab => {
    const name = `page ${++pages} of ${stores.indexOf(store)}`;
    const journal = store.page();
    const hearers = new Set<(event: PageEvent) => void>();
    let isDead = false;
    const late: typeof line = async (url, init) => {
      const answer = await line(url, init);
      log.push(`\n  ${name}${isDead ? " (dead)" : ""} ${String(init.body).replace(/"(p_)?session_id":"[^"]*",?/, "")} → ${(await answer.clone().text()).slice(0, 500)}\n`);
      if (isBad && chance(0.5)) await new Promise((resolve) => setTimeout(resolve, random() * 15));
      return answer;
    };
    const fate = lossy(() => (!isBad || chance(0.75) ? "pass" : chance(0.4) ? "unanswered" : chance(0.5) ? "lost" : "twice"), late);
    const session = opened<Chat>(way, {
      token,
      session: id,
      environment: world({
        clock: hurriedClock,
        random,
        fetch: (url, init) => (isDead ? new Promise(() => {}) : fate(url, init).then((answer) => (isDead ? new Promise(() => {}) : answer))),
        journal: () => journal,
        page: {
          hidden: () => false,
          listen: (hear) => (hearers.add(hear), () => void hearers.delete(hear)),
        },
      }),
    });
    return {
      session,
      fire: (event) => hearers.forEach((hear) => hear(event)),
      kill() {
        isDead = true;
        journal.kill();
      },
      freeze: () => journal.freeze(),
    };
  };

  const stores = Array.from({ length: 1 + Math.floor(random() * 3) }, storeOf);
  const tabs = stores.flatMap((store) => Array.from({ length: chance(0.4) ? 2 : 1 }, () => ({ store, tab: tabOf(store), open: "" })));
  const moment = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, random() * 6));

  const edit = (one: (typeof tabs)[0]): void => {
    const { session } = one.tab;
    const kind = random();
    if (kind < 0.4 && one.open) {
      const grown = written.get(one.open)! + ".";
      const at = (session.state.messages ?? []).findIndex((message) => message.startsWith(one.open));
      if (at < 0) return; // another tab of this browser has it for now
      session.set(`/messages/${at}`, grown);
      written.set(one.open, grown);
    } else if (kind < 0.75) {
      one.open = `${++count}:`;
      written.set(one.open, one.open);
      session.append("/messages", [one.open]);
    } else if (kind < 0.9) session.set(`/topics/${"abc"[Math.floor(random() * 3)]}`, random());
    else session.update((state) => ({ ...state, step: (state.step ?? 0) + 1 }));
  };

  const steps = 15 + Math.floor(random() * 35);
  for (let step = 0; step < steps; step++) {
    const one = tabs[Math.floor(random() * tabs.length)]!;
    const what = random();
    if (what < 0.5) edit(one), log.push("edit " + tabs.indexOf(one));
    else if (what < 0.7) one.tab.session.saveNow().catch(() => {}), log.push("save");
    else if (what < 0.83) one.tab.fire("visible"), log.push("look");
    else if (what < 0.87) one.tab.fire("hidden"), log.push("hide");
    else if (what < 0.91) {
      await new Promise((resolve) => setTimeout(resolve, 2)); // what was edited is in the journal
      one.tab.kill();
      one.tab = tabOf(one.store);
      one.open = "";
      log.push(`kill ${tabs.indexOf(one)}, begin page ${pages}`);
      await until(() => one.tab.session.status.isRestored || one.tab.session.state.messages !== undefined || chance(0.2));
    } else if (what < 0.93 && one.tab.session.status.isRestored) {
      await new Promise((resolve) => setTimeout(resolve, 2)); // as before a kill
      one.tab.freeze();
      one.open = ""; // what it had written is another's to send
      log.push("freeze " + tabs.indexOf(one));
    } else if (what < 0.96) {
      await ask(service, "POST", "/cleanup-old-snapshots", { keep: 1, older_than_seconds: 0, max_sessions: 10_000 });
      log.push("prune");
    } else await moment();
    if (chance(0.3)) await moment();
  }

  isBad = false;
  const sessions = tabs.map(({ tab }) => tab.session);
  const told = (): string => JSON.stringify({ seed, way, log: log.join(" "), states: sessions.map(({ number, state, status }) => ({ number, state, waiting: status.waiting.changes, error: status.error })), written: [...written], records: stores.map(({ records }) => [...records.values()]) });
  try {
    let state: State = {};
    await until(async () => {
      for (const { tab } of tabs) tab.fire("visible");
      await Promise.all(sessions.map((session) => session.saveNow().catch(() => {})));
      // what nobody has finished yet would be missing in the state
      if (stores.some(({ records }) => [...records.values()].some(({ sending, pending }) => sending ?? pending))) return false;
      state = await stateOf(token, id);
      const isEqual = (session: Session<Chat>): boolean => JSON.stringify(sorted(session.state)) === JSON.stringify(sorted(state));
      return sessions.every((session) => isEqual(session) && !session.status.waiting.changes);
    }, 15_000);
    expect([...((state["messages"] as string[] | undefined) ?? [])].sort()).toEqual([...written.values()].sort());
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${told()}\nserver: ${JSON.stringify(await stateOf(token, id))}`);
  } finally {
    await Promise.all(sessions.map((session) => session.close()));
  }
}

const sorted = (state: State): unknown => [state["messages"], Object.entries((state["topics"] as State) ?? {}).sort(), state["step"]];

test(`${SEQUENCES} sequences from seed ${SEED} on end as the server is`, async () => {
  expect(FUNCTIONS).toBeTruthy();
  const failures: string[] = [];
  let next = SEED;
  const lane = async (): Promise<void> => {
    while (next < SEED + SEQUENCES && failures.length < 12) {
      await play(next++).catch((error: Error) => void failures.push(error.message));
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  expect(failures.join("\n\n")).toBe("");
}, Math.max(120_000, SEQUENCES * 2_000));
