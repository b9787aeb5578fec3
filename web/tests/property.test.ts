/**
 * Clients that edit, answer and follow at random, on lines that lose, double and delay what goes over them, in tabs that
 * are opened, killed and frozen, while old numbers are pruned or brought back; the real server is the oracle. In the end
 * all are equal to it, each word is there once, and each answer is as far as it came.
 *
 * ASYOUWERE_WEB_SEQUENCES   how many sequences; 200 by default
 * ASYOUWERE_WEB_SEED        the first one's seed
 */

import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { Json, State } from "../src/core/types.js";
import { answersOf } from "./answers.js";
import { storeOf } from "./journal.js";
import { tabs as browser, until } from "./lines.js";
import { pageOf, type Page } from "./pages.js";
import { randomOf } from "./random.js";
import { ask, stateOf, tokenFor, ways, type Way } from "./server.js";

const SEQUENCES = Number(process.env["ASYOUWERE_WEB_SEQUENCES"] ?? 200);
const SEED = Number(process.env["ASYOUWERE_WEB_SEED"] ?? 1);
const LANES = 8;
const service = tokenFor({ role: "service_role" });

type Chat = State & { messages?: Json[]; topics?: State; step?: number };

/** What happens to old numbers: they go (of all sessions, so not beside the other kind), or come back. */
type History = "pruned" | "restored";

const tokenOf = (message: Json): string => (typeof message === "string" ? message.split(":")[0] + ":" : "");

async function play(seed: number, history: History): Promise<void> {
  const random = randomOf(seed);
  const chance = (of: number): boolean => random() < of;
  const token = tokenFor({ sub: randomUUID() });
  // a list that is gone as a whole is brought back as a whole by each that has added to it
  const { id } = await ask(token, "POST", "/sessions", { id: randomUUID(), ...(history === "restored" && { state: { messages: [] } }) });
  const way: Way = ways[seed % ways.length]!;
  const written = new Map<string, string>(); // token of a message -> as it was written last
  const entries: string[] = [];
  const log = (entry: string): void => void entries.push(entry);
  let isBad = true; // the line
  let count = 0;
  let pages = 0;

  const around = { way, token, session: id, random, isBad: () => isBad, log };
  const browsers = Array.from({ length: 1 + Math.floor(random() * 3) }, () => ({ store: storeOf(), channel: browser(), speaks: chance(0.5) }));
  const silent = (): ((name: string) => { post(): void; listen(): void; close(): void }) => () => ({ post() {}, listen() {}, close() {} });
  const load = ({ store, channel, speaks }: (typeof browsers)[0]): Page<Chat> =>
    pageOf<Chat>(around, `page ${++pages} of ${browsers.findIndex((one) => one.store === store)}`, store, speaks ? channel : silent());
  const tabOf = (of: (typeof browsers)[0]) => ({ of, page: load(of), open: "", isRobbed: false });
  const tabs = browsers.flatMap((of) => Array.from({ length: chance(0.4) ? 2 : 1 }, () => tabOf(of)));
  const answers = answersOf(random, log);
  const moment = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, random() * 6));

  const edit = (one: (typeof tabs)[0]): void => {
    const { session } = one.page;
    const kind = random();
    if (kind < 0.4 && one.open) {
      const grown = written.get(one.open)! + ".";
      const at = (session.state.messages ?? []).findIndex((message) => tokenOf(message) === one.open);
      if (at < 0) return; // another tab of this browser has it for now, or it is in the history
      session.set(`/messages/${at}`, grown);
      written.set(one.open, grown);
    } else if (kind < 0.75) {
      one.open = `${++count}:`;
      written.set(one.open, one.open);
      session.append("/messages", [one.open]);
    } else if (kind < 0.9) session.set(`/topics/${"abc"[Math.floor(random() * 3)]}`, random());
    else session.update((state) => ({ ...state, step: (state.step ?? 0) + 1 }));
  };

  /** What is on the page is in the journal. */
  const durable = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 2));

  const steps = 15 + Math.floor(random() * 35);
  for (let step = 0; step < steps; step++) {
    const one = tabs[Math.floor(random() * tabs.length)]!;
    const { page } = one;
    const what = random();
    if (what < 0.35) edit(one), log("edit on " + page.name);
    else if (what < 0.45) page.session.saveNow().catch(() => {}), log("save");
    else if (what < 0.53) page.fire("visible"), log("look");
    else if (what < 0.56) {
      if (one.isRobbed) await durable();
      page.fire("hidden");
      log("hide");
    } else if (what < 0.6) {
      await durable();
      page.kill();
      Object.assign(one, { page: load(one.of), open: "", isRobbed: false });
      answers.reloaded(page, one.page);
      log(`kill ${page.name}, begin page ${pages}`);
      await until(() => one.page.session.status.isRestored || one.page.session.state.messages !== undefined || chance(0.2));
    } else if (what < 0.61 && tabs.length < 6) {
      tabs.push(tabOf(one.of));
      log("open page " + pages);
    } else if (what < 0.63 && page.session.status.isRestored) {
      await durable();
      page.freeze();
      one.open = ""; // what it had written is another's to send
      // If it went, awake again, in the moment before its journal says that another has what it had, what it wrote in
      // that moment would be there twice.
      one.isRobbed = true;
      log("freeze " + page.name);
    } else if (what < 0.65) {
      if (history === "pruned") await ask(service, "POST", "/cleanup-old-snapshots", { keep: 1, older_than_seconds: 0, max_sessions: 10_000 });
      else page.session.restore({ number: 1 + Math.floor(random() * page.session.number) }).catch(() => {});
      log(history);
    } else if (what < 0.69) answers.begin(page);
    else if (what < 0.82) answers.goOn();
    else if (what < 0.84) answers.stop(page);
    else if (what < 0.88) answers.follow(page);
    else if (what < 0.885) answers.fallSilent();
    else await moment();
    if (chance(0.3)) await moment();
  }

  isBad = false;
  for (const of of browsers) tabs.push(tabOf(of)); // it finds what nobody who lives could take
  const sessions = tabs.map(({ page }) => page.session);
  const records = () => browsers.flatMap(({ store }) => [...store.records.values()]);
  const told = (): string => JSON.stringify({ seed, history, way, log: entries.join(" "), states: sessions.map(({ number, state, status }) => ({ number, state, waiting: status.waiting.changes, error: status.error })), written: [...written], records: records() });
  let state: State = {};
  try {
    answers.end(tabs[0]!.page);
    await until(async () => {
      for (const { page } of tabs) page.fire("visible");
      await Promise.all(sessions.map((session) => session.saveNow().catch(() => {})));
      // what nobody has finished yet would be missing in the state
      if (!answers.areOver() || records().some(({ sending, pending }) => sending ?? pending)) return false;
      state = await stateOf(token, id);
      const isEqual = (session: (typeof sessions)[0]): boolean => JSON.stringify(sorted(session.state)) === JSON.stringify(sorted(state));
      return sessions.every((session) => isEqual(session) && !session.status.waiting.changes);
    }, 60_000);
    const words = ((state["messages"] ?? []) as Json[]).filter((message) => typeof message === "string") as string[];
    if (history === "pruned") expect(words.sort()).toEqual([...written.values()].sort());
    else {
      expect([...new Set(words.map(tokenOf))]).toEqual(words.map(tokenOf));
      expect(await lost(token, id, written)).toEqual([]);
    }
    await answers.check(token, id, state, history === "restored");
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${told()}\nserver: ${JSON.stringify(await stateOf(token, id))}`);
  } finally {
    await Promise.all(sessions.map((session) => session.close()));
  }
}

/** What is in no version at all, as it was written last. */
async function lost(token: string, session: string, written: Map<string, string>): Promise<string[]> {
  const missing = new Set(written.values());
  const { snapshots } = await ask(token, "GET", `/sessions/${session}/snapshots?limit=100`);
  for (const { number } of snapshots as { number: number }[]) {
    const { state } = await ask(token, "POST", "/session-snapshot-restore", { session_id: session, number });
    for (const message of (state.messages ?? []) as string[]) missing.delete(message);
  }
  return [...missing];
}

const sorted = (state: State): unknown => [
  state["messages"], Object.entries((state["topics"] as State) ?? {}).sort(), state["step"], state["answered"],
];

describe.each<History>(["pruned", "restored"])("old numbers are %s", (history) => {
  // two in three of one kind, one in three of the other
  const seeds = Array.from({ length: SEQUENCES }, (_, index) => SEED + index).filter((seed) => (seed % 3 === 0) === (history === "restored"));
  test(`${seeds.length} sequences from seed ${SEED} on end as the server is`, async () => {
    const failures: string[] = [];
    const waiting = [...seeds];
    const lane = async (): Promise<void> => {
      while (waiting.length && failures.length < 12) {
        await play(waiting.shift()!, history).catch((error: Error) => void failures.push(error.message));
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    expect(failures.join("\n\n")).toBe("");
  }, Math.max(300_000, SEQUENCES * 4_000));
});
