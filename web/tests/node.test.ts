/** The journal in files: processes that are killed, that share it, that can't use it. */

import { buildSync } from "esbuild";
import { spawn, type ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { fileJournal } from "../src/node/index.js";
import { hurriedClock, lossy, until } from "./lines.js";
import { FUNCTIONS, ask, opened, person, stateOf, world } from "./server.js";

type Chat = { messages?: string[] };

const place = mkdtempSync(join(tmpdir(), "asyouwere-node-"));
afterAll(() => rmSync(place, { recursive: true }));

const client = join(place, "client.mjs");
buildSync({
  entryPoints: [fileURLToPath(new URL("node-client.ts", import.meta.url))],
  outfile: client,
  bundle: true,
  platform: "node",
  format: "esm",
});

/** Starts a process; resolves when so many of its messages are in its journal. */
async function processWith(environment: Record<string, string>, messages: number): Promise<{ child: ChildProcess; kill(): Promise<number> }> {
  const child = spawn(process.execPath, [client], { env: { ...environment, URL: FUNCTIONS }, stdio: ["ignore", "pipe", "inherit"] });
  let written = 0;
  createInterface({ input: child.stdout! }).on("line", (line) => (written = Math.max(written, Number(line))));
  await until(() => written >= messages);
  return {
    child,
    kill: () =>
      new Promise((resolve) => {
        child.once("close", () => resolve(written));
        child.kill("SIGKILL");
      }),
  };
}

const folders = (): string => mkdtempSync(join(place, "journal-"));
const here = (token: string, session: string, folder: string, more = {}) =>
  opened<Chat>("functions", { token, session, person: "ada", environment: world({ journal: fileJournal(folder), clock: hurriedClock, ...more }) });

describe("a journal in files", () => {
  test("processes killed while they edit and save lose nothing, and nothing is there twice", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", {});
    const folder = folders();
    const expected: string[] = [];
    for (const [name, saves] of [["a", ""], ["b", "yes"], ["c", "yes"]] as const) {
      const { kill } = await processWith({ TOKEN: token, SESSION: id, FOLDER: folder, NAME: name, SAVES: saves }, 20);
      const written = await kill();
      for (let count = 1; count <= written; count++) expected.push(`${name}:${count}`);
    }
    const session = here(token, id, folder);
    await session.ready;
    await until(async () => {
      await session.saveNow();
      const messages = ((await stateOf(token, id))["messages"] ?? []) as string[];
      return expected.every((one) => messages.includes(one));
    });
    const messages = (await stateOf(token, id))["messages"] as string[];
    expect(new Set(messages).size).toBe(messages.length);
    for (const name of "abc") {
      const its = messages.filter((message) => message.startsWith(name));
      expect(its).toEqual(its.map((_, index) => `${name}:${index + 1}`)); // in order, none left out
    }
    expect(session.state.messages).toEqual(messages);
    await session.close();
  });

  test("what a living process has is left to it, stopped or not; once it is gone another finishes it at once", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", {});
    const folder = folders();
    const { child, kill } = await processWith({ TOKEN: token, SESSION: id, FOLDER: folder, NAME: "a", SAVES: "" }, 5);
    child.kill("SIGSTOP");
    const session = here(token, id, folder);
    await session.saveNow();
    expect(session.state.messages).toBeUndefined();
    session.append("/messages", ["mine"]);
    await session.saveNow();
    expect(await stateOf(token, id)).toEqual({ messages: ["mine"] });
    const written = await kill();
    await until(async () => ((await stateOf(token, id))["messages"] as string[]).length > written);
    await until(() => session.state.messages!.includes(`a:${written}`));
    await session.close();
  });

  test("what a closed session could not save is the next one's, in this process or another", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { messages: ["0"] } });
    const folder = folders();
    let isDead = false;
    const fetch = lossy(() => (isDead ? "lost" : "pass"));
    const first = here(token, id, folder, { fetch });
    await first.saveNow();
    isDead = true;
    first.append("/messages", ["1"]);
    await first.close();
    const second = here(token, id, folder, { fetch });
    await second.ready; // without a server
    expect(second.state.messages).toEqual(["0", "1"]);
    isDead = false;
    await until(async () => ((await stateOf(token, id))["messages"] as string[]).length === 2);
    await second.close();
  });

  test("a file that was damaged is put aside and told, and all else goes on", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { messages: ["0"] } });
    const folder = folders();
    const first = here(token, id, folder);
    await first.saveNow();
    await first.close();
    const [own] = readdirSync(folder);
    const [file] = readdirSync(join(folder, own!));
    const path = join(folder, own!, file!);
    writeFileSync(path, readFileSync(path, "utf8").slice(0, 40));
    const second = here(token, id, folder);
    const errors: unknown[] = [];
    second.on("error", ({ error }) => errors.push(error));
    await second.saveNow();
    expect(second.state.messages).toEqual(["0"]);
    expect(errors).toMatchObject([{ code: "journal_damaged" }]);
    expect(readFileSync(`${path}.damaged`, "utf8")).toHaveLength(40);
    await second.close();
  });

  test("a folder that can't be used is told, and it saves all the same", async () => {
    const token = person();
    const file = join(place, randomUUID());
    writeFileSync(file, "");
    const session = opened<Chat>("functions", { token, environment: world({ journal: fileJournal(file) }) });
    session.append("/messages", ["hi"]);
    await session.saveNow();
    expect(session.status).toMatchObject({ journal: "off", waiting: { changes: 0 } });
    expect(await stateOf(token, session.id)).toEqual({ messages: ["hi"] });
    await session.close();
  });

  test("small values are kept, by person, and signing out forgets all of one", async () => {
    const journals = fileJournal(folders());
    await journals("ada").put("draft", "half a thou");
    await journals("bob").put("draft", { text: "b" });
    expect(await journals("ada").get("draft")).toBe("half a thou");
    await journals("ada").clear();
    expect([await journals("ada").get("draft"), await journals("bob").get("draft")]).toEqual([undefined, { text: "b" }]);
    await journals("bob").put("draft", undefined);
    expect(await journals("bob").get("draft")).toBeUndefined();
  });

  test("of several who ask at once for a small value that is not there, one's is kept", async () => {
    const folder = folders();
    const processes = ["a", "b", "c", "d"].map((mine) => fileJournal(folder)("ada").get("key trip", mine));
    const seen = new Set(await Promise.all(processes));
    expect(seen.size).toBe(1);
    expect(await fileJournal(folder)("ada").get("key trip", "late")).toBe([...seen][0]);
  });
});
