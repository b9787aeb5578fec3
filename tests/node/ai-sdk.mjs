// examples/adapters/ai_sdk_store.mjs under the AI SDK: an answer is streamed, kept and loaded, and sixteen save at once.
// SUPABASE_URL, SUPABASE_ANON_KEY. Driven by tests/adapters/test_ai_sdk.py.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createClient } from "@supabase/supabase-js";
import { convertToModelMessages, createUIMessageStream, readUIMessageStream, validateUIMessages } from "ai";
import { ChatStore } from "../../examples/adapters/ai_sdk_store.mjs";
import { check, ok, run } from "./checks.mjs";

const { SUPABASE_URL, SUPABASE_ANON_KEY } = process.env;
const supabase = createClient(SUPABASE_URL, SUPABASE_ANON_KEY, {
  auth: { persistSession: false, autoRefreshToken: false },
});
await ok(supabase.auth.signUp({ email: `ai-${randomUUID()}@example.org`, password: randomUUID() }));

const said = (text, role = "user") => ({ id: randomUUID(), role, parts: [{ type: "text", text }] });

/** What a route handler does: a stream whose end is saved. */
async function answer(store, chatId, message) {
  const originalMessages = [...(await store.loadChat(chatId)), message];
  let saving;
  const stream = createUIMessageStream({
    originalMessages,
    generateId: randomUUID,
    execute({ writer }) {
      writer.write({ type: "text-start", id: "t" });
      for (const delta of ["At ", "the ", "station."]) writer.write({ type: "text-delta", id: "t", delta });
      writer.write({ type: "text-end", id: "t" });
    },
    onFinish: ({ messages }) => {
      saving = store.saveChat({ chatId, messages });
    },
  });
  for await (const _ of readUIMessageStream({ stream }));
  await saving;
}

check("a chat is kept, loaded in another process, and gone on with", async () => {
  const chatId = await new ChatStore(supabase).createChat();
  assert.deepEqual(await new ChatStore(supabase).loadChat(chatId), []);
  const first = said("Where were we?");
  await answer(new ChatStore(supabase), chatId, first);
  await answer(new ChatStore(supabase), chatId, said("Which platform?"));
  const messages = await new ChatStore(supabase).loadChat(chatId);
  assert.deepEqual(messages.map(({ role }) => role), ["user", "assistant", "user", "assistant"]);
  assert.deepEqual(messages[0], first);
  assert.equal(messages[1].parts.find(({ type }) => type === "text").text, "At the station.");
  await validateUIMessages({ messages });
  assert.equal((await convertToModelMessages(messages)).length, 4);
  assert.deepEqual(await new ChatStore(supabase).loadChat(chatId, 1), messages.slice(-1));
});

check("saving again changes nothing, and a message that changed is brought up to date", async () => {
  const store = new ChatStore(supabase);
  const chatId = await store.createChat();
  const messages = [said("hi"), said("Let me", "assistant")];
  await store.saveChat({ chatId, messages });
  await store.saveChat({ chatId, messages });
  assert.deepEqual(await store.loadChat(chatId), messages);
  messages[1].parts[0].text = "Let me see.";
  await store.saveChat({ chatId, messages });
  assert.deepEqual(await store.loadChat(chatId), messages);
});

check("sixteen tabs that save at once: every message once", async () => {
  const chatId = randomUUID(); // sixteen who make it, too
  const common = said("hi");
  const own = Array.from({ length: 16 }, (_, tab) => said(`from tab ${tab}`));
  await Promise.all(own.map((message) => new ChatStore(supabase).saveChat({ chatId, messages: [common, message] })));
  const ids = (await new ChatStore(supabase).loadChat(chatId)).map(({ id }) => id);
  assert.equal(ids[0], common.id);
  assert.deepEqual(ids.slice(1).sort(), own.map(({ id }) => id).sort());
});

check("a chat that is deleted is new again", async () => {
  const store = new ChatStore(supabase);
  const chatId = await store.createChat();
  await store.saveChat({ chatId, messages: [said("hi")] });
  await store.deleteChat(chatId);
  assert.deepEqual(await store.loadChat(chatId), []);
});

await run();
process.exit(0);
