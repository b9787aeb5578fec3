/** What is at the edge of what people do: taken over and awake again, closed while it waits, misused, upgraded twice. */

import { describe, expect, test } from "vitest";
import type { Environment, Fetch, PageEvent } from "../src/core/types.js";
import { storeOf, type Store } from "./journal.js";
import { hurriedClock, tabs, until } from "./lines.js";
import { ask, line, opened, person, stateOf, ways, world, type Way } from "./server.js";

type Chat = { messages?: string[]; step?: number; topic?: string };

/** Where clocks are fast: the machine is not. */
const PATIENCE = 3_000_000;

const isSave = (url: string): boolean => /snapshot-save|create_session_snapshot/.test(url);
const isLook = (init: RequestInit): boolean => /"(p_)?since"/.test(String(init.body));

/** What holds up whoever waits for it, until it is opened. */
function gate(): { opened: Promise<void>; open(): void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

/** A tab of a browser: its line and its journal wait where they are told to. */
function tabOf(way: Way, token: string, session: string, store: Store, channel: Environment["channel"]) {
  const journal = store.page();
  const tab = {
    journal,
    fire: (_: PageEvent): void => {},
    sends: (): Promise<void> | undefined => undefined,
    hears: (): Promise<void> | undefined => undefined,
    writes: (): Promise<void> | undefined => undefined,
  };
  const fetch: Fetch = async (url, init) => {
    if (isSave(url)) await tab.sends();
    const answer = await line(url, init);
    if (isSave(url)) await tab.hears();
    return answer;
  };
  const environment = world({
    fetch,
    channel,
    clock: hurriedClock,
    journal: () => ({ ...journal, write: async (...of) => (await tab.writes(), journal.write(...of)) }),
    page: { hidden: () => false, listen: (hear) => ((tab.fire = hear), () => {}) },
  });
  return Object.assign(tab, { session: opened<Chat>(way, { token, session, timeout: PATIENCE, environment }) });
}

describe.each(ways)("over %s", (way) => {
  test.each([
    ["the other", "before"],
    ["the other", "after"],
    ["its own", "before"],
    ["its own", "after"],
  ])("robbed while it was frozen, awake, edited and hidden at once; %s request comes first, its journal says so %s the answer", async (first, word) => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { messages: ["0"] } });
    const [store, channel] = [storeOf(), tabs()];
    const [frozen, other] = [tabOf(way, token, id, store, channel), tabOf(way, token, id, store, channel)];
    await Promise.all([frozen.session.saveNow(), other.session.saveNow()]);
    frozen.session.append("/messages", ["before"]);
    await until(() => [...store.records.values()].some(({ pending }) => pending));
    const [theirs, journal, answer] = [gate(), gate(), gate()];
    if (first === "its own") other.sends = () => theirs.opened;
    frozen.journal.freeze();
    if (first === "the other") await until(async () => ((await stateOf(token, id))["messages"] as string[]).length === 2);
    frozen.writes = () => journal.opened;
    frozen.hears = () => answer.opened;
    frozen.session.append("/messages", ["after"]);
    frozen.fire("hidden");
    const moment = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 100));
    for (const one of word === "before" ? [journal, answer] : [answer, journal]) {
      await moment();
      one.open();
    }
    await moment();
    theirs.open();
    await until(async () => {
      [frozen, other].forEach(({ fire }) => fire("visible"));
      await Promise.all([frozen, other].map(({ session }) => session.saveNow()));
      return [frozen, other].every(({ session }) => session.state.messages?.length === 3) && ![...store.records.values()].some(({ pending, sending }) => pending ?? sending);
    });
    expect(await stateOf(token, id)).toEqual({ messages: ["0", "before", "after"] });
    await Promise.all([frozen, other].map(({ session }) => session.close()));
  });

  test("a save and the same one of a page that is hidden are both refused; one catches up and saves before the other has", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { topic: "old" } });
    let fire: (event: PageEvent) => void = () => {};
    const [bothRefused, saved] = [gate(), gate()];
    let refused = 0;
    let looks = 0;
    const fetch: Fetch = async (url, init) => {
      const answer = await line(url, init);
      if (isSave(url)) {
        if (answer.status !== 409) saved.open();
        else if (++refused === 2) bothRefused.open();
        if (answer.status === 409) await bothRefused.opened;
      } else if (isLook(init) && refused && ++looks === 2) await saved.opened;
      return answer;
    };
    const page = { hidden: () => false, listen: (hear: (event: PageEvent) => void) => ((fire = hear), () => {}) };
    const session = opened<Chat>(way, { token, session: id, environment: world({ fetch, page }) });
    await session.saveNow();
    await ask(token, "POST", "/session-snapshot-save", { session_id: id, state: { topic: "theirs" } });
    session.append("/messages", ["once"]);
    session.set("/topic", "mine");
    const saving = session.saveNow();
    fire("hidden");
    await saving;
    await until(() => looks > 1);
    await session.saveNow();
    expect(await stateOf(token, id)).toEqual({ messages: ["once"], topic: "mine" });
    expect(session.state).toEqual({ messages: ["once"], topic: "mine" });
    await session.close();
  });

  test("closed while it waits, on a line that is dead: another of the same session shows it all the time, and saves it", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { messages: ["0"] } });
    const [store, channel] = [storeOf(), tabs()];
    const [here, other] = [tabOf(way, token, id, store, channel), tabOf(way, token, id, store, channel)];
    await Promise.all([here.session.saveNow(), other.session.saveNow()]);
    const dead = (): Promise<void> => Promise.reject(new TypeError("the line is dead"));
    here.sends = dead;
    other.sends = dead;
    here.session.append("/messages", ["words"]);
    await until(() => other.session.state.messages?.length === 2);
    let isThere = true;
    other.session.subscribe(() => (isThere &&= other.session.state.messages!.length > 1));
    await here.session.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    other.sends = () => undefined;
    await until(async () => ((await stateOf(token, id))["messages"] as string[]).length === 2);
    await until(() => other.session.number === 2 && !other.session.status.error);
    expect([isThere, other.session.state.messages]).toEqual([true, ["0", "words"]]);
    await other.session.close();
  });

  test("a new key opened twice at once, in two tabs without a server: it is one session, and both tabs' words are in it", async () => {
    const token = person();
    const [store, channel] = [storeOf(), tabs()];
    const journals = [store.page(), store.page()];
    let isAway = true;
    const fetch: Fetch = (url, init) => (isAway ? Promise.reject(new TypeError("away")) : line(url, init));
    const both = journals.map((journal) =>
      opened<Chat>(way, { token, key: "trip", initial: { messages: [] }, environment: world({ fetch, clock: hurriedClock, journal: () => journal, channel }) }),
    );
    both.forEach((session, n) => session.append("/messages", [`words ${n}`]));
    await Promise.all(both.map((session) => session.ready));
    expect(both[0]!.id).toBe(both[1]!.id);
    isAway = false;
    await Promise.all(both.map((session) => session.saveNow()));
    expect([...((await stateOf(token, both[0]!.id))["messages"] as string[])].sort()).toEqual(["words 0", "words 1"]);
    await Promise.all(both.map((session) => session.close()));
  });

  test("what is edited after it was closed goes to the one that is open", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { messages: ["0"] } });
    const [store, channel] = [storeOf(), tabs()];
    const [here, other] = [tabOf(way, token, id, store, channel), tabOf(way, token, id, store, channel)];
    await Promise.all([here.session.saveNow(), other.session.saveNow()]);
    await here.session.close();
    here.session.append("/messages", ["an agent's, late"]);
    await until(async () => ((await stateOf(token, id))["messages"] as string[]).length === 2);
    await until(() => other.session.state.messages?.length === 2);
    await other.session.close();
  });

  test("two devices bring an older version up at the same moment: it is brought up once", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { messages: ["0"], topic: "tea" } });
    const together = [gate(), gate()];
    const migrate = ({ topic, messages = [] }: Chat): Chat => ({ messages: [...messages, `about ${topic}, ${Math.random()}`], topic: "none" });
    const [a, b] = together.map((mine, which) => {
      const fetch: Fetch = async (url, init) => {
        if (isSave(url)) {
          mine.open();
          await together[1 - which]!.opened;
        }
        return line(url, init);
      };
      return opened<Chat>(way, { token, session: id, version: 2, migrate, timeout: PATIENCE, environment: world({ fetch, clock: hurriedClock }) });
    });
    await until(() => [a!, b!].every(({ state }) => state.topic === "none") && ![a!, b!].some(({ status }) => status.waiting.changes));
    const { messages } = (await stateOf(token, id)) as Chat;
    expect(messages!.map((message) => message.slice(0, 9))).toEqual(["0", "about tea"]);
    expect([a!.state, b!.state].map((state) => state.messages)).toEqual([messages, messages]);
    await Promise.all([a!.close(), b!.close()]);
  });

  test("an old version that is brought to the front again is brought up again", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { messages: ["a"] } });
    const migrate = ({ messages = [] }: Chat): Chat => ({ messages: messages.map((message) => message.toUpperCase()) });
    const session = opened<Chat>(way, { token, session: id, version: 2, migrate, timeout: PATIENCE, environment: world({ clock: hurriedClock }) });
    await until(() => session.status.saveCount === 1);
    await session.restore({ number: 1 });
    session.append("/messages", ["b"]);
    await session.saveNow();
    expect(await stateOf(token, id)).toEqual({ messages: ["A", "b"], schemaVersion: 2 });
    const { snapshots } = await session.history();
    expect(snapshots.map(({ number, label }) => [number, label])).toEqual([[5, null], [4, null], [3, null], [2, null], [1, "before version 2"]]);
    await session.close();
  });

  test("a look that is refused once: told, and no error any more once a look has succeeded", async () => {
    const token = person();
    let isAway = false;
    const fetch: Fetch = async (url, init) => (isAway && isLook(init) ? new Response("not found", { status: 404 }) : line(url, init));
    const session = opened<Chat>(way, { token, initial: { step: 1 }, poll: 10, environment: world({ fetch }) });
    await session.saveNow();
    isAway = true;
    await until(() => session.status.error?.code === "http_404");
    isAway = false;
    await until(() => session.status.error === null);
    await session.close();
  });

  test("an update that returns nothing is a mistake that costs nothing", async () => {
    const token = person();
    const session = opened<Chat>(way, { token });
    await session.ready;
    session.append("/messages", ["kept"]);
    for (const wrong of [undefined, null, 7, "text", []]) expect(() => session.update(() => wrong as never)).toThrow(TypeError);
    session.append("/messages", ["and more"]);
    await session.saveNow();
    expect(await stateOf(token, session.id)).toEqual({ messages: ["kept", "and more"] });
    await session.close();
  });

  test("what is said on the channels and not understood, such as by another version, does no harm", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { messages: ["0"] } });
    const channel = tabs();
    const names = new Set<string>();
    const session = opened<Chat>(way, { token, session: id, environment: world({ channel: (name) => (names.add(name), channel(name)) }) });
    await session.saveNow();
    const { number } = session;
    const odd = { from: "odd", number };
    const words = [null, 7, "word", [], {}, odd, { ...odd, changes: { append: { "/messages/0": ["x"] } } }, { ...odd, changes: { set: { messages: 1 } } }, { ...odd, number: number + 1, changes: { set: 7 } }];
    for (const name of names) words.forEach((word) => channel(name).post(word));
    await new Promise((resolve) => setTimeout(resolve, 50));
    session.append("/messages", ["words"]);
    await session.saveNow();
    session.append("/messages", ["more"]);
    await session.saveNow();
    expect(session.state.messages).toEqual(["0", "words", "more"]);
    await session.close();
  });
});
