/** Page loads on a bad line, which can be killed, frozen and cut off. */

import type { Session } from "../src/core/surface.js";
import type { Channel, Fetch, PageEvent } from "../src/core/types.js";
import type { Store } from "./journal.js";
import { cut, hurriedClock, lossy } from "./lines.js";
import { line, opened, world, type Way } from "./server.js";

/** One page load. */
export interface Page<S> {
  name: string;
  session: Session<S>;
  fire(event: PageEvent): void;
  /** It is gone: nothing is heard of it any more, but for requests that are on their way. */
  kill(): void;
  isDead(): boolean;
  /** Others take it for dead; it goes on. */
  freeze(): void;
  /** Nothing of it gets through for so many ms. */
  stall(milliseconds: number): void;
}

/** What the pages of one sequence share. */
export interface Surroundings {
  way: Way;
  token: string;
  session: string;
  random(): number;
  /** Whether the line loses, doubles and delays. */
  isBad(): boolean;
  log(entry: string): void;
}

const never = new Promise<never>(() => {});
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** The clocks of the pages are fast; so is that of a turn's lease. */
const hurried = (init: RequestInit): RequestInit =>
  typeof init.body === "string" ? { ...init, body: init.body.replace(/(lease_seconds":)\d+/, "$11") } : init;

export function pageOf<S>(around: Surroundings, name: string, store: Store, channel: (name: string) => Channel): Page<S> {
  const { random, isBad, log } = around;
  const chance = (of: number): boolean => random() < of;
  const journal = store.page();
  const hearers = new Set<(event: PageEvent) => void>();
  let isDead = false;
  let stalled: Promise<void> | undefined;

  const told = async (init: RequestInit, answer: Response): Promise<void> => {
    const stream = answer.headers.get("Content-Type")?.startsWith("text/event-stream");
    const text = stream ? "a stream" : (await answer.clone().text()).slice(0, 500);
    log(`\n  ${name}${isDead ? " (dead)" : ""} ${String(init.body).replace(/"(p_)?session_id":"[^"]*",?/, "")} → ${text}\n`);
  };
  const slow: Fetch = async (url, init) => {
    const answer = await line(url, init);
    await told(init, answer);
    if (isBad() && chance(0.5)) await pause(random() * 15);
    return isBad() && chance(0.5) ? cut(answer, Math.floor(random() * 4)) : answer;
  };
  /** Some requests come once more when others have followed them. */
  const echoing: Fetch = async (url, init) => {
    const answer = await slow(url, init);
    if (isBad() && init.method !== "GET" && chance(0.05)) {
      void pause(random() * 30).then(() => line(url, { ...init, signal: null }).then((late) => late.arrayBuffer(), () => {}));
    }
    return answer;
  };
  const fate = lossy(() => (!isBad() || chance(0.75) ? "pass" : chance(0.4) ? "unanswered" : chance(0.5) ? "lost" : "twice"), echoing);
  const alive = async <T>(what: Promise<T>): Promise<T> => {
    try {
      const value = await what;
      return isDead ? await never : value;
    } catch (error) {
      return isDead ? await never : Promise.reject(error as Error);
    }
  };

  return {
    name,
    session: opened<S>(around.way, {
      token: around.token,
      session: around.session,
      timeout: 3_000_000, // its clock is fast, the machine is not
      environment: world({
        clock: { ...hurriedClock, after: (milliseconds, callback) => hurriedClock.after(milliseconds, () => isDead || callback()) },
        random,
        fetch: async (url, init) => {
          await stalled;
          return isDead ? never : alive(fate(url, hurried(init)));
        },
        journal: () => journal,
        channel(of) {
          const { post, listen, close } = channel(of);
          return { post: (message) => isDead || post(message), listen: (hear) => listen((message) => isDead || hear(message)), close };
        },
        page: {
          hidden: () => false,
          listen: (hear) => (hearers.add(hear), () => void hearers.delete(hear)),
        },
      }),
    }),
    fire: (event) => hearers.forEach((hear) => hear(event)),
    isDead: () => isDead,
    kill() {
      isDead = true;
      journal.kill();
    },
    freeze: () => journal.freeze(),
    stall(milliseconds) {
      const gate = pause(milliseconds).then(() => void (stalled === gate && (stalled = undefined)));
      stalled = gate;
    },
  };
}
