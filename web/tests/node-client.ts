/**
 * A process with a session and a journal in files, for node.test.ts. It appends a message every few ms, "NAME:1" and so
 * on, and prints how many are in the journal as soon as they are. With SAVES it saves now and then, else never.
 *
 * From the environment: URL, TOKEN, SESSION, FOLDER, NAME, SAVES.
 */

import { open } from "../src/core/index.js";
import { fileJournal } from "../src/node/index.js";

const { URL: url, TOKEN, SESSION, FOLDER, NAME, SAVES } = process.env as Record<string, string>;
const journals = fileJournal(FOLDER!);
let count = 0;

const session = open<{ messages?: string[] }>({
  url: url!,
  token: TOKEN!,
  session: SESSION!,
  person: "ada",
  debounce: 3_600_000,
  maxWait: 3_600_000,
  environment: {
    journal(person) {
      const journal = journals(person);
      return {
        ...journal,
        async write(record, instead) {
          const upTo = count;
          const isKept = await journal.write(record, instead);
          if (isKept) console.log(upTo);
          return isKept;
        },
      };
    },
  },
});
await session.ready;
setInterval(() => {
  session.append("/messages", [`${NAME}:${++count}`]);
  if (SAVES && count % 7 === 0) session.saveNow().catch(() => {});
}, 5);
