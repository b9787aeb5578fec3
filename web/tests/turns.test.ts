import { describe, expect, test } from "vitest";
import { turnsOf, type TurnProgress } from "../src/turns/index.js";
import type { Json } from "../src/core/types.js";
import { supabase, type SupabaseClient } from "../src/supabase/index.js";
import { open } from "../src/core/open.js";
import { lossy, until } from "./lines.js";
import { FUNCTIONS, POSTGREST, ask, line, opened, person, stateOf, ways, world } from "./server.js";

type Chat = { messages?: Json[] };

const all = async (turn: AsyncIterable<TurnProgress>): Promise<TurnProgress[]> => {
  const found: TurnProgress[] = [];
  for await (const progress of turn) found.push(progress);
  return found;
};

describe.each(ways)("turns over %s", (way) => {
  test("an answer is followed in a page that did not start it, and is a message at its end", async () => {
    const token = person();
    const session = opened<Chat>(way, { token });
    session.append("/messages", ["a question"]);
    const turn = await turnsOf(session).start({ message: { role: "assistant", model: "m" } });
    expect(session.status.waiting.changes).toBe(0); // the question stands before its answer
    const other = opened<Chat>(way, { token, session: session.id });
    await other.ready;
    const followed = all(turnsOf(other).follow());
    for (const word of ["A character in two: ", "\ud83d", "\ude00", "."]) turn.write(word);
    turn.write({ type: "tool", n: 1 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    await turn.finish();
    const progress = await followed;
    expect(progress.at(-1)).toMatchObject({ id: turn.id, status: "done", text: "A character in two: 😀.", position: 1 });
    expect(progress.flatMap(({ chunks }) => chunks).at(-1)).toEqual({ type: "tool", n: 1 });
    const answer = (other.state.messages as Json[])[1];
    expect(answer).toMatchObject({ role: "assistant", model: "m" });
    expect(session.state).toEqual(other.state);
    expect(await stateOf(token, session.id)).toEqual(session.state);
    await Promise.all([session.close(), other.close()]);
  });

  test("followed from a number on nothing comes twice, over lines that break", async () => {
    const token = person();
    let count = 0;
    const fetch = lossy((url) => (/turns|_turn/.test(url) && ++count % 3 === 1 ? (count % 2 ? "lost" : "unanswered") : "pass"));
    const session = opened<Chat>(way, { token, environment: world({ fetch }) });
    await session.ready;
    const turn = await turnsOf(session).start();
    const following = all(turnsOf(session).follow(turn.id));
    for (let word = 0; word < 5; word++) {
      turn.write(`${word} `.padEnd(5_000, "x"));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await turn.finish({ message: { role: "assistant", content: "whole" } });
    const progress = await following;
    const text = progress.at(-1)!.text;
    expect(text).toHaveLength(25_000);
    expect(text.match(/\d /g)).toEqual(["0 ", "1 ", "2 ", "3 ", "4 "]);
    const seen = progress[0]!;
    const rest = await all(turnsOf(session).follow(turn.id, { after: seen.seq }));
    expect(seen.text + rest.at(-1)!.text).toBe(text);
    expect((await stateOf(token, session.id))["messages"]).toEqual([{ role: "assistant", content: "whole" }]);
    await session.close();
  });

  test("stopped from elsewhere: the runner's signal says so, and what there is stays", async () => {
    const token = person();
    const session = opened<Chat>(way, { token });
    const turn = await turnsOf(session).start();
    const other = opened<Chat>(way, { token, session: session.id });
    await other.ready;
    turn.write("as far as it");
    await turnsOf(other).stop(turn.id);
    turn.write(" came".padEnd(5_000));
    await until(() => turn.signal.aborted);
    await turn.finish();
    expect((await stateOf(token, session.id))["messages"]).toMatchObject([{ status: "stopped" }]);
    await Promise.all([session.close(), other.close()]);
  });

  test("one at a time: another is refused, or joins; whose turn was taken is told", async () => {
    const token = person();
    const session = opened<Chat>(way, { token });
    const turn = await turnsOf(session).start({ lease: 300 });
    await expect(turnsOf(session).start()).rejects.toMatchObject({ code: "turn_running", detail: { turn: turn.id } });
    const joined = await turnsOf(session).start({ join: true });
    expect(joined.id).toBe(turn.id);
    await joined.finish({ message: "the end", changes: { set: { "/topic": "t" } } });
    turn.write("too late".padEnd(5_000));
    await until(() => turn.signal.aborted);
    expect(turn.signal.reason).toMatchObject({ code: "turn_over" });
    await expect(turn.finish()).rejects.toMatchObject({ code: "turn_over" });
    expect(await stateOf(token, session.id)).toEqual({ messages: ["the end"], topic: "t" });
    await session.close();
  });

  test("an end whose answer is lost is asked for again as it was, though somebody stops it meanwhile", async () => {
    const token = person();
    const ends: unknown[] = [];
    let stop = async (): Promise<void> => {};
    const fetch: typeof line = async (url, init) => {
      const answer = await line(url, init);
      if (!/\/finish$|finish_turn/.test(url)) return answer;
      ends.push(JSON.parse(String(init.body)));
      if (ends.length > 1) return answer;
      await stop();
      throw new TypeError("the answer was lost");
    };
    const session = opened<Chat>(way, { token, environment: world({ fetch }) });
    const turn = await turnsOf(session).start({ lease: 1 });
    const told: number[] = [];
    session.on("turn", ({ seq }) => told.push(seq));
    turn.write("whole");
    // a flush that comes behind the end is refused: the turn is over
    stop = async () => {
      turn.write("x".repeat(5_000));
      await until(() => turn.signal.aborted);
    };
    await turn.finish();
    expect(ends).toHaveLength(2);
    expect(ends[1]).toEqual(ends[0]);
    expect((await stateOf(token, session.id))["messages"]).toEqual([{ role: "assistant", content: "whole" }]);
    expect(told.at(-1)).toBe(1); // the last chunk's number
    await session.close();
  });

  test("an end is an end, also if the look for its message fails", async () => {
    const token = person();
    let dead = 0;
    const fetch = lossy((url, init) => {
      if (/\/finish$|finish_turn/.test(url)) dead = 2;
      return /"(p_)?since"/.test(String(init.body)) && dead-- > 0 ? "lost" : "pass";
    });
    const session = opened<Chat>(way, { token, environment: world({ fetch }) });
    await session.saveNow();
    const turn = await turnsOf(session).start();
    const other = opened<Chat>(way, { token, session: session.id });
    await other.ready;
    const following = all(turnsOf(session).follow(turn.id));
    turn.write("whole");
    await Promise.all([turn.finish(), following]);
    expect(session.state.messages).toEqual([{ role: "assistant", content: "whole" }]);
    await Promise.all([session.close(), other.close()]);
  });

  test("without a turn there is nothing to follow; whoever stops listening is let go", async () => {
    const token = person();
    const session = opened<Chat>(way, { token });
    await session.saveNow();
    expect(await all(turnsOf(session).follow())).toEqual([]);
    await expect(all(turnsOf(session).follow(crypto.randomUUID()))).rejects.toMatchObject({ code: "turn_not_found" });
    const turn = await turnsOf(session).start();
    const stop = new AbortController();
    const following = all(turnsOf(session).follow(turn.id, { signal: stop.signal }));
    turn.write("x".repeat(5_000));
    await new Promise((resolve) => setTimeout(resolve, 200));
    stop.abort();
    await following;
    await turn.finish();
    await session.close();
  });
});

/** A supabase client as far as it is used, whose realtime says what it is told to. */
function fakeClient(token: string): SupabaseClient & { say(event: string, payload: object): void; subscribed(): void; channels: string[] } {
  const hearers: Record<string, (message: { payload: never }) => void> = {};
  let told: (status: string) => void = () => {};
  const channels: string[] = [];
  const channel = {
    on: (_: string, { event }: { event: string }, heard: (message: { payload: never }) => void) => ((hearers[event] = heard), channel),
    subscribe: (tell?: (status: string) => void) => (told = tell!),
  };
  const session = async () => ({ data: { session: { access_token: token } } });
  return {
    auth: { getSession: session, refreshSession: session },
    channel: (name: string) => (channels.push(name), channel) as never,
    removeChannel: () => void channels.pop(),
    say: (event: string, payload: object) => hearers[event]!({ payload: payload as never }),
    subscribed: () => told("SUBSCRIBED"),
    channels,
    ...{ supabaseUrl: POSTGREST, supabaseKey: "anon" },
  };
}

test.each([undefined, FUNCTIONS])("realtime tells of news at once; when it begins, what was said before is looked for (%s)", async (url) => {
  const token = person();
  const { id } = await ask(token, "POST", "/sessions", { state: { step: 0 } });
  const client = fakeClient(token);
  const headers: unknown[] = [];
  const fetch: typeof line = (to, init) => (headers.push((init.headers as Record<string, string>)["apikey"]), line(to, init));
  const options = { environment: world({ fetch }), ...(url && { url }) };
  const session = open<{ step: number }>({ ...supabase(client, options), session: id, poll: 3_600_000 });
  await session.ready;
  await until(() => client.channels.includes(`asyouwere:${id}`));
  expect(headers[0]).toBe(url ? undefined : "anon");
  const save = (step: number): Promise<unknown> => ask(token, "POST", "/session-snapshot-save", { session_id: id, state: { step } });
  await save(1);
  client.subscribed();
  await until(() => session.state.step === 1);
  await save(2);
  client.say("snapshot", { session: id, number: 3 });
  await until(() => session.state.step === 2);
  const turns: unknown[] = [];
  session.on("turn", (told) => turns.push(told));
  client.say("turn", { session: id, turn: "t", seq: 4 });
  expect(turns).toMatchObject([{ turn: "t", seq: 4 }]);
  await session.close();
  expect(client.channels).toEqual([]);
});
