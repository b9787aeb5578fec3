/** What the tabs of a browser show of each other while they come and go. */

import { describe, expect, test } from "vitest";
import type { Environment, PageEvent } from "../src/core/types.js";
import { storeOf, type Store } from "./journal.js";
import { hurriedClock, lossy, tabs, until } from "./lines.js";
import { ask, opened, person, stateOf, ways, world } from "./server.js";

type Chat = { messages?: string[] };

/** A tab with a journal, in a browser; `isDead` cuts its line. */
const tabIn = (store: Store, channel: Environment["channel"]) => {
  const journal = store.page();
  const tab = { isDead: false, lost: 0, isDeaf: false, journal, fire: (_: PageEvent): void => {} };
  const environment = world({
    journal: () => journal,
    channel: (name) => {
      const { post, listen, close } = channel(name);
      return { post: (word) => tab.isDead || tab.isDeaf || post(word), listen: (hear) => listen((word) => tab.isDead || tab.isDeaf || hear(word)), close };
    },
    fetch: lossy(() => (tab.isDead ? (tab.lost++, "lost") : "pass")),
    page: { hidden: () => false, listen: (hear) => ((tab.fire = hear), () => {}) },
  });
  return Object.assign(tab, { environment, kill: () => ((tab.isDead = true), journal.kill()) });
};

describe.each(ways)("tabs over %s", (way) => {
  test("what a killed tab had not saved is shown once, by whoever goes on with it and by all others", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { messages: ["0"] } });
    const [store, channel] = [storeOf(), tabs()];
    const load = () => {
      const tab = tabIn(store, channel);
      return { tab, session: opened<Chat>(way, { token, session: id, environment: tab.environment }) };
    };
    const [a, b] = [load(), load()];
    await Promise.all([a.session.saveNow(), b.session.saveNow()]);
    a.session.append("/messages", ["once"]);
    await until(() => b.session.state.messages?.length === 2);
    b.tab.isDead = true; // it can't save: it goes on with what a had as soon as it can
    a.tab.kill();
    b.tab.isDead = false;
    const c = load();
    await until(() => c.session.status.isRestored);
    await Promise.all([b.session.saveNow(), c.session.saveNow()]);
    await until(async () => ((await stateOf(token, id))["messages"] as string[]).length === 2);
    b.tab.fire("visible");
    c.tab.fire("visible");
    await until(() => [b, c].every(({ session }) => session.number === 2 && session.state.messages?.join() === "0,once"));
    await Promise.all([b.session.close(), c.session.close()]);
  });

  test("a tab that is loaded anew goes on with what it had, and the others do not show it twice", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { messages: ["0"] } });
    const channel = tabs();
    const load = (store: Store) => {
      const tab = tabIn(store, channel);
      return { tab, session: opened<Chat>(way, { token, session: id, environment: tab.environment }) };
    };
    const [mine, theirs] = [storeOf(), storeOf()]; // b takes nothing of a
    const [a, b] = [load(mine), load(theirs)];
    await Promise.all([a.session.saveNow(), b.session.saveNow()]);
    a.session.append("/messages", ["once"]);
    await until(() => b.session.state.messages?.length === 2);
    a.tab.kill();
    const again = load(mine);
    await again.session.ready;
    expect(again.session.state.messages).toEqual(["0", "once"]);
    await until(() => b.session.state.messages?.join() === "0,once");
    await again.session.saveNow();
    await until(() => b.session.number === 2);
    expect(b.session.state.messages).toEqual(["0", "once"]);
    await Promise.all([again.session.close(), b.session.close()]);
  });

  test("a tab that was robbed while it was frozen is shown once, under its new name", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { messages: ["0"] } });
    const [store, channel] = [storeOf(), tabs()];
    const load = () => {
      const tab = tabIn(store, channel);
      return { tab, session: opened<Chat>(way, { token, session: id, environment: tab.environment }) };
    };
    const [a, b, c] = [load(), load(), load()];
    await Promise.all([a, b, c].map(({ session }) => session.saveNow()));
    a.session.append("/messages", ["before"]);
    await until(() => [b, c].every(({ session }) => session.state.messages?.length === 2));
    a.tab.journal.freeze();
    a.session.append("/messages", ["after"]);
    await until(async () => ((await stateOf(token, id))["messages"] as string[]).length === 2);
    await a.session.saveNow();
    [a, b, c].forEach(({ tab }) => tab.fire("visible"));
    await until(() => [a, b, c].every(({ session }) => session.state.messages?.join() === "0,before,after" && session.number === 3));
    await Promise.all([a, b, c].map(({ session }) => session.close()));
  });

  test("two that open a key for the first time hear of each other, though one has moved to the other's session", async () => {
    const token = person();
    const channel = tabs();
    const tab = () => opened<Chat>(way, { token, key: "chat", environment: world({ channel }) });
    const [a, b] = [tab(), tab()];
    await Promise.all([a.saveNow(), b.saveNow()]);
    expect(a.id).toBe(b.id);
    a.append("/messages", ["unsaved"]);
    await until(() => b.state.messages?.length === 1);
    await Promise.all([a.close(), b.close()]);
  });

  test("what a killed tab had not saved in a session that is gone does not get into the one that comes after it", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { messages: ["0"] } });
    const [store, channel] = [storeOf(), tabs()];
    const load = () => {
      const tab = tabIn(store, channel);
      const environment = { ...tab.environment, clock: hurriedClock };
      return { tab, session: opened<Chat>(way, { token, session: id, onExpired: "new", initial: { messages: [] }, environment }) };
    };
    const [a, b] = [load(), load()];
    await Promise.all([a.session.saveNow(), b.session.saveNow()]);
    b.session.append("/messages", ["of the old one"]);
    await until(() => a.session.state.messages?.length === 2);
    a.tab.isDead = true;
    b.tab.isDead = true;
    b.tab.kill(); // a would finish it, and can't
    await until(() => a.tab.lost > 0);
    await ask(token, "DELETE", `/sessions/${id}`);
    a.tab.isDead = false;
    a.tab.fire("visible");
    await until(() => a.session.id !== id && a.session.status.isRestored);
    a.session.append("/messages", ["new"]);
    await until(async () => (await a.session.saveNow(), !a.session.status.waiting.changes));
    await new Promise((resolve) => setTimeout(resolve, 400)); // whoever would finish it asks at least every 300 ms
    expect(await stateOf(token, a.session.id)).toEqual({ messages: ["new"] });
    expect(a.session.state).toEqual({ messages: ["new"] });
    const kept = [...store.records.values()].filter(({ session, pending, sending }) => session === id && (pending ?? sending));
    expect(kept.map((record) => (record.pending ?? record.sending!.changes).append)).toEqual([{ "/messages": ["of the old one"] }]);
    await a.session.close();
  });

  test("out of the back/forward cache a tab shows what the others have by now, not what they had", async () => {
    const token = person();
    const { id } = await ask(token, "POST", "/sessions", { state: { messages: ["0"] } });
    const channel = tabs();
    const load = () => {
      const tab = tabIn(storeOf(), channel);
      return { tab, session: opened<Chat>(way, { token, session: id, environment: tab.environment }) };
    };
    const [a, b] = [load(), load()];
    await Promise.all([a.session.saveNow(), b.session.saveNow()]);
    a.session.append("/messages", ["once"]);
    await until(() => b.session.state.messages?.length === 2);
    b.tab.isDeaf = true;
    b.tab.fire("leaving");
    await a.session.saveNow();
    a.session.append("/messages", ["unsaved"]);
    await new Promise((resolve) => setTimeout(resolve, 20)); // said, and not heard
    b.tab.isDeaf = false;
    b.tab.fire("back");
    await until(() => b.session.number === 2 && b.session.state.messages?.join() === "0,once,unsaved");
    await Promise.all([a.session.close(), b.session.close()]);
  });
});
