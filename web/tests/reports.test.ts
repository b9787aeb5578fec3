/**
 * What people have reported of chat applications and their libraries, with what is right here. Three more stand where
 * they belong: concurrent first writes and two windows on one chat in behaviour.test.ts ("two that make the first
 * message at once …"), a failed save that is not shown as saved there too ("a lost answer …"), parts doubled by resuming
 * in turns.test.ts ("followed from a number on …").
 */

import { describe, expect, test } from "vitest";
import type { Session } from "../src/core/surface.js";
import { turnsOf, type TurnProgress } from "../src/turns/index.js";
import type { Json } from "../src/core/types.js";
import { storeOf } from "./journal.js";
import { hurriedClock, lossy, until } from "./lines.js";
import { ask, opened, person, stateOf, ways, world, type Way } from "./server.js";

type Chat = { messages?: Json[] };
const says = (content: string, role = "user"): Json => ({ role, content });
const contents = (session: { messages?: Json }): unknown[] => ((session.messages ?? []) as { content: string }[]).map(({ content }) => content);

async function answer(session: Session<Chat>, question: string, text: string): Promise<string> {
  session.append("/messages", [says(question)]);
  const turn = await turnsOf(session).start();
  turn.write(text);
  await turn.finish();
  return turn.id;
}

async function followed(session: Session<Chat>, turn?: string): Promise<TurnProgress | undefined> {
  let last: TurnProgress | undefined;
  for await (const progress of turnsOf(session).follow(turn)) last = progress;
  return last;
}

const open = (way: Way, token: string, session: string): Session<Chat> => opened<Chat>(way, { token, session });

describe.each(ways)("reported, over %s", (way) => {
  test("after going back to an earlier answer and asking anew, the branch that was left is replayed", async () => {
    const token = person();
    const session = opened<Chat>(way, { token });
    await answer(session, "q1", "a1");
    const { number } = session;
    const behind = open(way, token, session.id); // a window that knows nothing of it
    await behind.ready;
    await answer(session, "q2", "a2");
    await behind.saveNow();
    await session.restore({ number });
    const third = await answer(session, "q2 anew", "a2 anew");
    const kept = ["q1", "a1", "q2 anew", "a2 anew"];
    expect(contents(session.state)).toEqual(kept);
    behind.append("/messages", [says("q3")]);
    await behind.saveNow();
    const reloaded = open(way, token, session.id);
    await reloaded.saveNow();
    for (const one of [behind, reloaded]) expect(contents(one.state)).toEqual([...kept, "q3"]);
    expect(await followed(reloaded)).toMatchObject({ id: third, text: "a2 anew" });
    const branch = open(way, token, (await reloaded.fork({ number })).id);
    await branch.saveNow();
    expect(contents(branch.state)).toEqual(["q1", "a1"]);
    expect(await followed(branch)).toBeUndefined();
    await Promise.all([session, behind, reloaded, branch].map((one) => one.close()));
  });

  test("the page was left before the answer ended, and the answer is not in the history", async () => {
    const token = person();
    const store = storeOf();
    const page = store.page();
    let isDead = false;
    const fetch = lossy(() => (isDead ? "lost" : "pass"));
    const session = opened<Chat>(way, { token, environment: world({ fetch, journal: () => page }) });
    session.append("/messages", [says("q")]);
    const turn = await turnsOf(session).start({ lease: 1 });
    turn.write("as far as ".padEnd(5_000, "it came "));
    const watching = open(way, token, session.id);
    await watching.ready;
    await until(async () => (await ask(token, "GET", `/sessions/${session.id}/turns/${turn.id}?after=0`)).chunks.length === 1);
    isDead = true;
    page.kill();
    expect(await followed(watching, turn.id)).toMatchObject({ status: "interrupted", position: 1 });
    const again = open(way, token, session.id);
    await again.saveNow();
    expect(again.state.messages).toMatchObject([says("q"), { role: "assistant", status: "interrupted" }]);
    expect(contents(again.state)[1]).toMatch(/^as far as it came/);
    // and one that is made elsewhere, in a server, is saved with nobody looking
    const begun = await ask(token, "POST", `/sessions/${session.id}/turns`, { turn_id: crypto.randomUUID() });
    await ask(token, "POST", `/sessions/${session.id}/turns/${begun.id}/chunks`, { from_seq: 1, chunks: ["whole"] });
    await ask(token, "POST", `/sessions/${session.id}/turns/${begun.id}/finish`, {});
    const later = open(way, token, session.id);
    await later.saveNow();
    expect(contents(later.state)[2]).toBe("whole");
    await Promise.all([watching, again, later].map((one) => one.close()));
  });

  test("a retry shows the answer of the turn before", async () => {
    const token = person();
    const session = opened<Chat>(way, { token });
    session.append("/messages", [says("q")]);
    const first = await turnsOf(session).start();
    first.write("first");
    await first.finish({ status: "failed" });
    const other = open(way, token, session.id);
    await other.ready;
    const retry = await turnsOf(session).start();
    const following = followed(other); // the latest, which has said nothing yet
    retry.write("second");
    await retry.finish();
    expect(await following).toMatchObject({ id: retry.id, text: "second", position: 2 });
    expect(await followed(other, first.id)).toMatchObject({ id: first.id, text: "first", status: "failed", position: 1 });
    expect(contents(other.state)).toEqual(["q", "first", "second"]);
    await Promise.all([session.close(), other.close()]);
  });

  test("the client's id of a chat is not the server's, and all is stored twice", async () => {
    const token = person();
    let lost = 3;
    const fetch = lossy((url) => (/sessions$|get_or_create_session/.test(url) && lost-- > 0 ? "unanswered" : "pass"));
    const device = (): Session<Chat> => opened<Chat>(way, { token, key: "chat", environment: world({ fetch, clock: hurriedClock }) });
    const [a, b] = [device(), device()];
    a.append("/messages", [says("from a")]);
    b.append("/messages", [says("from b")]);
    const [idOfA, idOfB] = [a.id, b.id];
    await until(() => [a, b].every(({ status }) => status.isRestored));
    await Promise.all([a.saveNow(), b.saveNow()]);
    expect(a.id).toBe(b.id);
    expect([idOfA, idOfB]).not.toEqual([a.id, b.id]); // one of them has moved, with what it had
    expect((await ask(token, "GET", "/sessions")).sessions).toHaveLength(1);
    expect(contents(await stateOf(token, a.id)).sort()).toEqual(["from a", "from b"]);
    await Promise.all([a.close(), b.close()]);
  });

  test("stopping the answer deletes the question", async () => {
    const token = person();
    const session = opened<Chat>(way, { token });
    session.append("/messages", [says("q")]);
    const silent = await turnsOf(session).start();
    await turnsOf(session).stop();
    await silent.finish({ status: "stopped" }); // not a word was said
    expect(contents(session.state)).toEqual(["q"]);
    const turn = await turnsOf(session).start();
    turn.write("half an ans");
    await turnsOf(session).stop(turn.id);
    await turn.finish();
    expect(session.state.messages).toEqual([says("q"), { role: "assistant", content: "half an ans", status: "stopped" }]);
    expect(await stateOf(token, session.id)).toEqual(session.state);
    await session.close();
  });

  test("the answer could not begin, and the question is gone", async () => {
    const token = person();
    let isDead = false;
    const fetch = lossy(() => (isDead ? "lost" : "pass"));
    const session = opened<Chat>(way, { token, environment: world({ fetch, clock: hurriedClock }) });
    await session.saveNow();
    isDead = true;
    session.append("/messages", [says("q")]);
    await expect(turnsOf(session).start()).rejects.toMatchObject({ code: "network" });
    expect([contents(session.state), session.status.waiting.changes]).toEqual([["q"], 1]);
    isDead = false;
    await until(() => !session.status.waiting.changes);
    expect(contents(await stateOf(token, session.id))).toEqual(["q"]);
    await session.close();
  });
});
