// What is published, as it is built: a session is saved by one client and restored by another, over a turn and a label.
// Prints what each saw, as JSON. Arguments: the folder that it was built into, the functions' URL, a token.

import { randomUUID } from "node:crypto";
import { bundle } from "../../web/build.mjs";

const [folder, url, token] = process.argv.slice(2);
await bundle(folder);
const { open } = await import(`${folder}/core/index.js`);
const { turnsOf } = await import(`${folder}/turns/index.js`);
const { sessionFromUrl } = await import(`${folder}/helpers/index.js`);

const first = open({ url, token, session: undefined, initial: { messages: [], memory: { topic: "tea" } }, poll: 0 });
await first.ready;
first.append("/messages", [{ role: "user", content: "Hello" }]);
await first.label("asked");
const turn = await turnsOf(first).start({ id: randomUUID() });
turn.write("Good ");
turn.write("morning");
await turn.finish();
const second = open({ url, token, session: sessionFromUrl("session", `https://app.example/?session=${first.id}`), poll: 0 });
await second.ready;
second.set("/memory/topic", "coffee");
await second.restore({ label: "asked" });
let text = "";
for await (const progress of turnsOf(second).follow()) text = progress.text;
console.log(JSON.stringify({ first: first.state, second: second.state, text, status: Object.keys(second.status).sort() }));
await Promise.all([first.close(), second.close()]);
