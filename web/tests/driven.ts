/**
 * Clients that are driven from outside: a line of JSON in for each thing to do, one out when it is done. For runs in
 * which other clients take part (tests/trust/browser_client.py).
 */

import { createInterface } from "node:readline";
import type { Refused } from "../src/core/refused.js";
import { isPassing } from "../src/core/saving.js";
import type { Session } from "../src/core/surface.js";
import type { Json, PageEvent, State } from "../src/core/types.js";
import { storeOf } from "./journal.js";
import { hurriedClock, lossy, until } from "./lines.js";
import { randomOf } from "./random.js";
import { opened, world } from "./server.js";

type Message = { id: string; text: string };
type Chat = State & { messages?: Message[]; topics?: State; scratch?: Json[]; memory?: { board: State }; step?: number };

/** What is to be done to the state. */
interface Edit {
  kind: "append" | "grow" | "topic" | "forget" | "board" | "scratch" | "pop" | "step";
  id: string;
  piece: string;
  name: string;
  value: Json;
}

/** One page load after the other, with one store. */
class Client {
  isFine = true;
  session!: Session<Chat>;
  private store = storeOf();
  private fire: (event: PageEvent) => void = () => {};
  private end = (): void => {};

  constructor(
    private token: string,
    private key: string,
    private random: () => number,
  ) {}

  /** Opens the session, with what the page before has left. */
  async load(): Promise<void> {
    const journal = this.store.page();
    const hearers = new Set<(event: PageEvent) => void>();
    let isDead = false;
    const fate = lossy(() => {
      const chance = this.isFine ? 1 : this.random();
      this.count(chance < 0.06 ? "request lost" : chance < 0.12 ? "answer lost" : chance < 0.18 ? "twice" : undefined);
      return chance < 0.06 ? "lost" : chance < 0.12 ? "unanswered" : chance < 0.18 ? "twice" : "pass";
    });
    const never = new Promise<never>(() => {});
    this.isFine = true;
    this.session = opened<Chat>("functions", {
      token: this.token,
      key: this.key,
      timeout: 3_000_000, // its clock is fast, the machine is not
      environment: world({
        clock: hurriedClock,
        random: this.random,
        fetch: (url, init) => (isDead ? never : fate(url, init).then((answer) => (isDead ? never : answer))),
        journal: () => journal,
        page: { hidden: () => false, listen: (hear) => (hearers.add(hear), () => void hearers.delete(hear)) },
      }),
    });
    this.fire = (event) => hearers.forEach((hear) => hear(event));
    this.end = () => {
      isDead = true;
      journal.kill();
    };
    this.session.on("saved", () => this.count("saves"));
    this.session.on("conflict", ({ doubts }) => doubts.forEach(() => this.count("doubts told")));
    await until(() => this.session.status.isRestored, 60_000);
    this.isFine = false;
  }

  /** Counted, and told with the next answer. */
  readonly counts: Record<string, number> = {};
  private count(what: string | undefined): void {
    if (what) this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  /** What it has made of a message, if of one. */
  edit({ kind, id, piece, name, value }: Edit): string | undefined {
    const { session } = this;
    const { state } = session;
    const at = (state.messages ?? []).findIndex((message) => message.id === id);
    const text = (state.messages?.[at]?.text ?? "") + piece;
    if (kind === "grow") session.set(`/messages/${at}`, { id, text });
    else if (kind === "append") session.append("/messages", [{ id, text: id }]);
    else if (kind === "topic") session.set(`/topics/${name}`, value);
    else if (kind === "forget") session.update(({ topics = {}, ...rest }) => ({ ...rest, topics: without(topics, name) }));
    else if (kind === "scratch") session.append("/scratch", [value]);
    else if (kind === "pop") session.update((all) => (all.scratch?.length ? { ...all, scratch: all.scratch.slice(0, -1) } : all));
    else if (kind === "step") session.update((all) => ({ ...all, step: (all.step ?? 0) + 1 }));
    else
      session.update((all) => {
        const board = all.memory?.board ?? {};
        const { list = [] } = (board[name] ?? {}) as { list?: Json[] };
        return { ...all, memory: { ...all.memory, board: { ...board, [name]: { list: [...list, value] } } } };
      });
    return kind === "grow" ? text : undefined;
  }

  /** Saves; also looks for what others did, if asked to. Answers why not, if it can't for now; rejects if it never can. */
  async save(looks: boolean): Promise<string | undefined> {
    if (looks) this.fire("visible");
    try {
      await this.session.saveNow();
    } catch (error) {
      if (!isPassing(error as Refused)) throw error;
      return (error as Refused).code;
    }
    return undefined;
  }

  /** The page is gone at once; what was edited is in the store. */
  async crash(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 2));
    this.end();
    await this.load();
  }
}

const without = (object: State, key: string): State => Object.fromEntries(Object.entries(object).filter(([name]) => name !== key));

const clients = new Map<string, Client>();

interface Asked {
  number: number;
  client: string;
  todo: "open" | "edit" | "save" | "look" | "fine" | "crash" | "state" | "close";
  token: string;
  key: string;
  seed: number;
  edit: Edit;
}

async function done({ client: name, todo, token, key, seed, edit }: Asked): Promise<unknown> {
  if (todo === "open") clients.set(name, new Client(token, key, randomOf(seed)));
  const client = clients.get(name)!;
  switch (todo) {
    case "open":
      return client.load();
    case "edit":
      return client.edit(edit);
    case "save":
    case "look":
      return client.save(todo === "look");
    case "fine":
      return void (client.isFine = true);
    case "crash":
      return client.crash();
    case "state":
      return { state: client.session.state, waiting: client.session.status.waiting.changes };
    case "close":
      return client.session.close();
  }
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const asked = JSON.parse(line) as Asked;
  done(asked).then(
    (answer) => tell({ answer: answer ?? null, counts: clients.get(asked.client)!.counts }),
    (error: Error) => tell({ error: error.stack ?? String(error), counts: {} }),
  );
  const tell = (told: object): void => void process.stdout.write(JSON.stringify({ number: asked.number, ...told }) + "\n");
});
