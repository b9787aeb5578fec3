/** The browser's journal by itself, for tests that look into it: `journal` and what a test needs beside it. */

import { indexedDbJournal } from "../../../../web/src/core/indexeddb.js";
import { defaultEnvironment } from "../../../../web/src/core/environment.js";
import type { Json, JournalRecord, State } from "../../../../web/src/core/types.js";

import { apply, diff } from "../../../../web/src/core/changes.js";

const client = crypto.randomUUID();
const told: { health: string; code: string | undefined }[] = [];
const later: JournalRecord[] = [];

const journal = indexedDbJournal("asyouwere test", defaultEnvironment());
journal.listen((health, error) => told.push({ health, code: (error as { code?: string } | undefined)?.code }));

const record = (session: string, base: State, more: Partial<JournalRecord> = {}): JournalRecord => ({
  session,
  client,
  number: 1,
  base,
  sending: null,
  pending: null,
  next: "next",
  at: Date.now(),
  ...more,
});

const messages = (count: number): Json[] =>
  Array.from({ length: count }, (_, i) => ({ role: i % 2 ? "assistant" : "user", content: `message ${i} `.repeat(10) }));

/** A text that doesn't get shorter on disk. */
const noise = (length: number): string => {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return Array.from(bytes, (byte) => String.fromCharCode(33 + (byte % 90))).join("");
};

Object.assign(window, {
  journal,
  record,
  messages,
  noise,
  client,
  told,
  core: { apply, diff },
  later,
  adopt: (session: string) => journal.adopt(session, (one) => later.push(one)),
});
