import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { open } from "../src/core/open.js";
import type { Session } from "../src/core/surface.js";
import { turnsOf } from "../src/turns/index.js";
import { supabase } from "../src/supabase/index.js";
import { FUNCTIONS, POSTGREST, person, stateOf, world } from "./server.js";

/** The examples as they are printed; what they import is given to them. */
const printed = [...readFileSync(new URL("../README.md", import.meta.url), "utf8").matchAll(/^```ts\n(.*?)^```/gms)].map(
  (found) => found[1]!,
);
const examples = printed.map((text) =>
  ts.transpile(text.replace(/^import .*\n/gm, ""), { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext }),
);

/** What an app has beside them. */
const AROUND = `
import type { SupabaseClient } from "asyouwere/supabase";
declare global {
  const url: string, token: string, client: SupabaseClient;
  const render: (snapshot: unknown) => void, note: (...told: unknown[]) => void, show: (text: string, status: string) => void;
  const answer: (signal: AbortSignal) => AsyncIterable<string>;
}
`;

/** What TypeScript has to say about programs, in this package's own strict settings. */
function complaints(texts: string[]): string[] {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const { config } = ts.readConfigFile(root + "tsconfig.json", ts.sys.readFile) as { config: { compilerOptions: object } };
  const { options } = ts.convertCompilerOptionsFromJson(
    {
      ...config.compilerOptions,
      noUnusedLocals: false,
      paths: { asyouwere: [root + "src/core/index.ts"], "asyouwere/*": [root + "src/*/index.ts"] },
    },
    root,
  );
  const files = new Map(texts.map((text, i) => [`${root}example-${i}.ts`, text]));
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (name) => files.has(name) || fileExists(name);
  host.readFile = (name) => files.get(name) ?? readFile(name);
  host.getSourceFile = (name, target, ...more) =>
    files.has(name) ? ts.createSourceFile(name, files.get(name)!, target) : getSourceFile(name, target, ...more);
  return ts
    .getPreEmitDiagnostics(ts.createProgram([...files.keys()], options, host))
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
}

const AsyncFunction = (async () => {}).constructor as new (...names: string[]) => (...values: unknown[]) => Promise<unknown>;

const run = (text: string, given: Record<string, unknown>): Promise<unknown> =>
  new AsyncFunction(...Object.keys(given), text + "\nreturn session;")(...Object.values(given));

describe("the examples of README.md", () => {
  test("are these", () => expect(examples).toHaveLength(5));

  test("hold in strict TypeScript", () => {
    const opened = `import type { Session } from "asyouwere";\ndeclare const session: Session;\n`;
    const texts = printed.map((text) => (text.includes("const session =") ? text : opened + text));
    expect(complaints([AROUND, ...texts])).toEqual([]);
    expect(complaints([AROUND, texts[0]!.replace("step: 0", "step: true")])).not.toEqual([]);
  }, 300_000); // the compiler is all that works here, beside what else the machine does

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
    await run(examples[2]!, { session, turnsOf, answer, show: (text: string, status: string) => seen.push([text, status]) });
    expect(seen.at(-1)).toEqual(["At the station.", "done"]);
    await run(examples[3]!, { session, note: () => {} });
    session.set("/step", 1);
    await session.saveNow();
    await run(examples[4]!, { session });
    expect(session.state).toMatchObject({ messages: [{ content: "At the station." }], step: 1 });
    await session.close();
  });
});
