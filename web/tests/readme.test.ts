import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { open } from "../src/core/open.js";
import type { Session } from "../src/core/surface.js";
import { supabase } from "../src/supabase/index.js";
import { FUNCTIONS, POSTGREST, person, stateOf, world } from "./server.js";

/** The examples as they are printed; what they import is given to them. */
const examples = [...readFileSync(new URL("../README.md", import.meta.url), "utf8").matchAll(/^```ts\n(.*?)^```/gms)].map((found) =>
  found[1]!.replace(/^import .*\n/gm, ""),
);

const AsyncFunction = (async () => {}).constructor as new (...names: string[]) => (...values: unknown[]) => Promise<unknown>;

const run = (text: string, given: Record<string, unknown>): Promise<unknown> =>
  new AsyncFunction(...Object.keys(given), text + "\nreturn session;")(...Object.values(given));

describe("the examples of README.md", () => {
  test("are these", () => expect(examples).toHaveLength(5));

  test("open, change, done", async () => {
    const token = person();
    const shown: unknown[] = [];
    const session = (await run(examples[0]!, { open, url: FUNCTIONS, token, render: (state: unknown) => shown.push(state) })) as Session;
    expect(await stateOf(token, session.id)).toEqual({ messages: [{ role: "user", content: "Where were we?" }], step: 1 });
    expect(shown.length).toBeGreaterThan(0);
  });

  test("a Supabase project", async () => {
    const token = person();
    const channel = { on: () => channel, subscribe: () => {} };
    const client = {
      auth: { getSession: async () => ({ data: { session: { access_token: token } } }) },
      channel: () => channel,
      removeChannel: () => {},
      supabaseUrl: POSTGREST,
      supabaseKey: "anon",
    };
    const session = (await run(examples[1]!, {
      open,
      supabase: (project: never) => supabase(project, { environment: world() }),
      client,
    })) as Session;
    expect(await stateOf(token, session.id)).toEqual({ memory: { topic: "tea" } });
  });

  test("a turn, a conflict, the history", async () => {
    const token = person();
    const session = open({ url: FUNCTIONS, token, environment: world() });
    await session.ready;
    const seen: [string, string][] = [];
    const answer = function* (): Generator<string> {
      yield* ["At ", "the ", "station."];
    };
    await run(examples[2]!, { session, answer, show: (text: string, status: string) => seen.push([text, status]) });
    expect(seen.at(-1)).toEqual(["At the station.", "done"]);
    await run(examples[3]!, { session, note: () => {} });
    session.set("/step", 1);
    await session.saveNow();
    await run(examples[4]!, { session });
    expect(session.state).toMatchObject({ messages: [{ content: "At the station." }], step: 1 });
    await session.close();
  });
});
