/// <reference types="node" />
/**
 * A journal in files, for Node: what was changed survives the process, and whoever opens the session next finishes it.
 *
 *     const session = open({ url, token, session: id, environment: { journal: fileJournal("/var/lib/chat/journal") } });
 *
 * A folder a person, a file a record: written beside it, synced, then renamed onto it, so that it is whole at any time.
 * All of a record is written at each change, which fits sessions of some megabytes. Processes of one machine may share
 * the folder. Who lives is told by a socket that each process listens on; a record of one that is gone belongs to whoever
 * renames its file first.
 */

import { createHash, randomUUID } from "node:crypto";
import { access, link, mkdir, open, readFile, readdir, rename, rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Environment, Journal, JournalHealth, Json, JournalRecord, RecordName } from "../core/types.js";

/** Stands for the owner of a record that was left on purpose. */
const NOBODY = "nobody";
/** Of file names: one of a record says whose session and client it is, and who may write it. */
const RECORD = /^r\.(\w+)\.(\w+)\.([\w-]+)$/;

const hash = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 32);
const isWaiting = ({ sending, pending }: JournalRecord): boolean => !!(sending ?? pending);
const socketOf = (owner: string): string =>
  process.platform === "win32" ? `\\\\.\\pipe\\asyouwere-${owner}` : join(tmpdir(), `asyouwere-${owner}`);

/** This process, as the others know it: a name whose socket answers for as long as it lives. */
let me: Promise<string> | undefined;
const listening = (): Promise<string> =>
  (me ??= new Promise((resolve, reject) => {
    const name = randomUUID().slice(0, 18);
    const server = createServer((other) => other.on("error", () => {}).unref());
    server.once("error", reject).listen(socketOf(name), () => resolve(name)).unref();
    process.once("exit", () => server.close());
  }));

/** Whether there is a file. */
const isThere = (path: string): Promise<boolean> => access(path).then(() => true, () => false);

/** A line to another process, which breaks when that is gone; null: it is gone. */
const lineTo = (owner: string): Promise<Socket | null> =>
  new Promise((resolve) => {
    const line = connect(socketOf(owner));
    line
      .on("error", ({ code }: NodeJS.ErrnoException) => {
        if (code === "ECONNREFUSED") void rm(socketOf(owner), { force: true }); // left by one that was killed
        resolve(null);
      })
      .once("connect", () => resolve(line.unref()));
  });

/** Writes a file so that it is there whole, and for good, or not at all; `as` link: only if there is none. */
async function put(path: string, content: unknown, as = rename): Promise<void> {
  const draft = `${path}.${randomUUID()}.draft`;
  try {
    const file = await open(draft, "wx", 0o600);
    try {
      await file.writeFile(JSON.stringify(content));
      await file.sync();
    } finally {
      await file.close();
    }
    await as(draft, path);
  } finally {
    await rm(draft, { force: true });
  }
}

/** Journals in a folder, one a person, for `environment.journal`. The folder is made if it is missing. */
export function fileJournal(folder: string): Environment["journal"] {
  const journals = new Map<string, Journal>();
  return (person) => {
    if (!journals.has(person)) journals.set(person, journalIn(join(folder, hash(person))));
    return journals.get(person)!;
  };
}

function journalIn(folder: string): Journal {
  const listeners = new Set<(health: JournalHealth, error?: unknown) => void>();
  /** Where this process has written a record; it is gone when another has taken it. */
  const own = new Map<string, string>();
  /** What ends the watching of each session's others. */
  const watching = new Map<string, (() => void)[]>();
  let health: JournalHealth = "ok";

  const tell = (now: JournalHealth, error?: unknown): void => {
    if (now === health && !error) return;
    health = now;
    listeners.forEach((listener) => listener(now, error));
  };
  /** What is done; undefined, and said, if the disk fails. */
  const run = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const result = await work();
      tell("ok");
      return result;
    } catch (error) {
      tell(/^(ENOSPC|EDQUOT)$/.test((error as NodeJS.ErrnoException).code ?? "") ? "full" : "off", error);
      return undefined;
    }
  };

  const fileOf = ({ session, client }: RecordName, owner: string): string => `r.${hash(session)}.${hash(client)}.${owner}`;
  const keyOf = ({ session, client }: RecordName): string => `${session} ${client}`;
  const valueOf = (name: string): string => `v.${hash(name)}`;

  /** The content of a file; undefined if there is none. One that can't be read is put aside, and told. */
  const read = async <T>(name: string): Promise<T | undefined> => {
    const path = join(folder, name);
    try {
      return JSON.parse(await readFile(path, "utf8")) as T;
    } catch (error) {
      if (!(error instanceof SyntaxError)) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw error;
      }
      await rename(path, `${path}.damaged`);
      tell(health, Object.assign(new Error("journal_damaged"), { code: "journal_damaged", file: `${path}.damaged` }));
      return undefined;
    }
  };

  /** The records of a session with the names of their files, newest first. */
  const recordsOf = async (session: string): Promise<[file: string, owner: string, record: JournalRecord][]> => {
    const found: [string, string, JournalRecord][] = [];
    for (const file of await readdir(folder)) {
      const [, of, , owner] = RECORD.exec(file) ?? [];
      const record = of === hash(session) ? await read<JournalRecord>(file) : undefined;
      if (record) found.push([file, owner!, record]);
    }
    return found.sort(([, , a], [, , b]) => b.number - a.number || b.at - a.at);
  };

  /** Makes a record this process' own; false: another was faster. */
  const take = async (file: string, record: JournalRecord): Promise<boolean> => {
    const to = join(folder, fileOf(record, await listening()));
    try {
      await rename(join(folder, file), to);
    } catch {
      return false;
    }
    own.set(keyOf(record), to);
    return true;
  };

  return {
    health: () => health,
    listen(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    load: async (session) => (await run(async () => (await recordsOf(session))[0]?.[2])) ?? null,
    async write(record, instead = []) {
      const isKept = await run(async () => {
        for (const one of [record, ...instead]) {
          const path = own.get(keyOf(one));
          if (path && !(await isThere(path))) return false;
        }
        const path = join(folder, fileOf(record, await listening()));
        await put(path, record);
        own.set(keyOf(record), path);
        for (const one of instead) {
          const before = own.get(keyOf(one));
          if (before) await rm(before, { force: true });
          own.delete(keyOf(one));
        }
        return true;
      });
      return isKept ?? true;
    },
    async adopt(session, later) {
      const watched = new Map<string, Socket>();
      let isOver = false;
      const end = (): void => {
        isOver = true;
        watched.forEach((line) => line.destroy());
      };
      watching.set(session, [...(watching.get(session) ?? []), end]);
      const look = async (): Promise<JournalRecord[]> => {
        const taken: JournalRecord[] = [];
        const name = await listening();
        let isOlder = false; // than another one to paint from
        for (const [file, owner, record] of await recordsOf(session)) {
          if (isOver || owner === name || watched.has(owner)) continue;
          const line = owner === NOBODY ? null : await lineTo(owner);
          if (line) {
            watched.set(owner, line);
            line.once("close", () => {
              watched.delete(owner);
              if (!isOver) void run(async () => (await look()).forEach(later));
            });
          } else if (isWaiting(record)) {
            if (await take(file, record)) taken.push(record);
          } else if (isOlder) await rm(join(folder, file), { force: true });
          else isOlder = true;
        }
        return taken;
      };
      return (await run(look)) ?? [];
    },
    get: (name, first) =>
      run(async () => {
        const kept = await read<Json>(valueOf(name));
        if (kept !== undefined || first === undefined) return kept;
        await put(join(folder, valueOf(name)), first, link).catch(() => {}); // another process was first
        return read<Json>(valueOf(name));
      }),
    async put(name, value) {
      const path = join(folder, valueOf(name));
      await run(() => (value === undefined ? rm(path, { force: true }) : put(path, value)));
    },
    async clear() {
      await run(async () => {
        for (const file of await readdir(folder)) await rm(join(folder, file), { force: true });
      });
      own.clear();
    },
    async close(session) {
      watching.get(session)?.forEach((end) => end());
      watching.delete(session);
      await run(async () => {
        for (const [key, path] of own) {
          if (!key.startsWith(`${session} `)) continue;
          own.delete(key);
          await rename(path, path.replace(/[\w-]+$/, NOBODY)).catch(() => {});
        }
      });
    },
  };
}
