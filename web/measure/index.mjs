// The package's figures: npm run measure (after npm run build).
//
// Sizes: size.mjs. Comparing: a state of 1 MB in which one message changed, median of 200. Wire: what
// one message into a session of 1 MB sends.

import { apply, diff } from "../dist/core/index.js";
import { sizes } from "./size.mjs";

const median = (job, times = 200) => {
  const found = Array.from({ length: times }, () => {
    const begun = performance.now();
    job();
    return performance.now() - begun;
  });
  return found.sort((a, b) => a - b)[times >> 1];
};

const message = (index) => ({ id: `message-${index}`, role: index % 2 ? "assistant" : "user", content: "word ".repeat(200) });
const before = { messages: Array.from({ length: 1_000 }, (_, index) => message(index)), memory: { topic: "tea" }, step: 1 };
const changed = apply(before, { set: { "/messages/500": { ...message(500), content: "another" } } });
const copied = structuredClone(changed);
const sent = diff(before, apply(before, { append: { "/messages": [message(1_000)] } }));

const { core, react, supabase } = await sizes();
const rows = [
  ["core, gzip", `${core} bytes`],
  ["with React hooks, gzip", `${react} bytes`],
  ["asyouwere/supabase with what it needs of the core, gzip", `${supabase} bytes`],
  ["the state's JSON", `${JSON.stringify(before).length} bytes`],
  ["comparing, with shared references", `${median(() => diff(before, changed)).toFixed(3)} ms`],
  ["comparing, without any", `${median(() => diff(before, copied)).toFixed(2)} ms`],
  ["changes of one message more", `${JSON.stringify(sent).length} bytes`],
];
for (const [name, value] of rows) console.log(`${name.padEnd(58)} ${value}`);
