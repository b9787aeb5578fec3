import { describe, expect, test } from "vitest";
import { branchesOf, costOf, mergeFork, originOf, PRICES, usageOf, type BudgetEvent } from "../src/helpers/index.js";
import { ask, opened, over, person, stateOf, ways, world } from "./server.js";

describe.each(ways)("usage over %s", (way) => {
  test("a call is recorded once per key, and adds up", async () => {
    const token = person();
    const session = opened(way, { token });
    await session.saveNow();
    const usage = usageOf(over(way, { token, environment: world() }), session.id);
    const call = { model: "large-1", input: 1200, output: 300, cached: 1000, cost: 0.0125, key: "call 1" };
    expect(await usage.record(call)).toMatchObject({ recorded: true, cost: 0.0125 });
    expect(await usage.record(call)).toMatchObject({ recorded: false, cost: 0.0125 });
    const turn = crypto.randomUUID();
    await usage.record({ model: "gpt-4.1-mini", input: 1_000_000, output: 1_000_000, turn }); // at its list price
    expect(await usage.read(turn)).toMatchObject({ calls: 1, cost: 2 });
    expect(await usage.read()).toMatchObject({ calls: 2, cached_tokens: 1000, cost: 2.0125, budget: null, used: null });
    await expect(usage.record({ ...call, cost: -1, key: "2" })).rejects.toMatchObject({ status: 422 });
    await session.close();
  });

  test("a budget is told once at 80 %, once at its end, and of a read as well", async () => {
    const token = person();
    const session = opened(way, { token });
    await session.saveNow();
    const heard: BudgetEvent[] = [];
    const usage = usageOf(over(way, { token, environment: world() }), session.id);
    const undo = usage.on("budget", (event) => heard.push(event));
    await usage.setBudget(2);
    for (const cost of [1, 0.6, 0.2]) await usage.record({ model: "m", input: 1, output: 1, cost });
    expect(heard).toEqual([{ of: "session", cost: 1.6, budget: 2, used: 0.8, isOver: false }]);
    const elsewhere = usageOf(over(way, { token, environment: world() }), session.id);
    elsewhere.on("budget", (event) => heard.push(event));
    await elsewhere.record({ model: "m", input: 1, output: 1, cost: 5 });
    await usage.read();
    expect(heard.slice(1).map(({ used, isOver }) => [used, isOver])).toEqual([
      [3.4, true],
      [3.4, true],
    ]);
    undo();
    await usage.setBudget(null);
    await usage.setBudget(1);
    expect(heard).toHaveLength(3);
    await session.close();
  });

  test("a branch is merged back; what both changed is named, and decided", async () => {
    const token = person();
    const options = over(way, { token, environment: world() });
    const session = opened<object>(way, { token, initial: { nodes: { a: { x: 1 }, b: { x: 1 } } } });
    await session.saveNow();
    const { id } = await session.fork({ name: "branch", key: session.id + "/branch" });
    expect((await branchesOf(options, session.id)).map((branch) => [branch.id, branch.name])).toEqual([[id, "branch"]]);
    expect((await originOf(options, session.id)).origin_id).toBeNull();
    expect(await originOf(options, id)).toMatchObject({ origin_id: session.id, base_number: 1 });
    const branch = opened(way, { token, session: id });
    await branch.ready;
    branch.set("/nodes/a/x", 2);
    branch.set("/nodes/b/x", 3);
    await branch.saveNow();
    session.set("/nodes/b/x", 4);
    await session.saveNow();
    expect(await mergeFork(options, id)).toEqual({ conflicts: ["/nodes/b/x"] });
    expect(await mergeFork(options, id, { choices: { "/nodes/b": "fork" }, label: "merged" })).toMatchObject({ number: 3 });
    expect(await stateOf(token, session.id)).toEqual({ nodes: { a: { x: 2 }, b: { x: 3 } } });
    await ask(token, "DELETE", `/sessions/${session.id}`);
    await expect(mergeFork(options, id)).rejects.toMatchObject({ code: "session_not_found" });
    await Promise.all([session.close(), branch.close()]);
  });
});

test("a call's cost is exact to twelve decimals, by the app's own prices too", () => {
  expect(costOf("gpt-4.1-mini", { input: 1e6, output: 1e6 })).toBe(2);
  const own = { mine: { input: 0.1, cached: 0.01, output: 0.2 } };
  expect(costOf("mine", { input: 3e6, output: 1e6, cached: 2e6 }, own)).toBe(0.32);
  expect(costOf("unheard of", { input: 1, output: 1 })).toBeUndefined();
  for (const { input, cached, output } of Object.values(PRICES)) expect(Math.min(input, cached, output)).toBeGreaterThanOrEqual(0);
});
