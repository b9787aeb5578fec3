// supabase-js as two users, as a member, as nobody and as the service, against any Supabase with asyouwere in it:
// SUPABASE_URL, SUPABASE_ANON_KEY, SUPABASE_SERVICE_KEY. Driven by tests/clients/test_supabase_js.py.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createClient } from "@supabase/supabase-js";
import { check, ok, refused, run } from "./checks.mjs";

const { SUPABASE_URL, SUPABASE_ANON_KEY, SUPABASE_SERVICE_KEY } = process.env;
const options = { auth: { persistSession: false, autoRefreshToken: false } };
const client = (key = SUPABASE_ANON_KEY) => createClient(SUPABASE_URL, key, options);
const password = randomUUID();

const people = {};
async function person(name) {
  if (!people[name]) {
    const supabase = client();
    const email = `${name}-${randomUUID()}@example.org`;
    const { user } = await ok(supabase.auth.signUp({ email, password }));
    people[name] = { supabase, email, id: user.id };
  }
  return people[name];
}

const nobody = client();
const STATE = { messages: [{ role: "user", content: "hi" }], memory: { topic: "tea" }, currentStep: 1 };

/** A session of ada's with two snapshots: STATE, and one more message at step 2. */
async function saved(fields = {}) {
  const { supabase } = await person("ada");
  const session = await ok(supabase.from("free_agent_sessions").insert({ name: "Kyoto", ...fields }).select().single());
  await ok(supabase.rpc("create_session_snapshot", { p_session_id: session.id, p_state: STATE }));
  const p_changes = { append: { "/messages": [{ role: "assistant", content: "yo" }] }, set: { "/currentStep": 2 } };
  await ok(supabase.rpc("create_session_snapshot", { p_session_id: session.id, p_base: 1, p_changes }));
  return { supabase, id: session.id, session };
}

check("signUp gives a session, and the same address again is refused", async () => {
  const { email, supabase } = await person("ada");
  const { session } = (await supabase.auth.getSession()).data;
  assert.ok(session.access_token && session.refresh_token);
  const error = await refused(client().auth.signUp({ email, password }));
  assert.equal(error.code, "user_already_exists");
});

check("signInWithPassword works with the password and is refused with another", async () => {
  const { email, id } = await person("ada");
  const { user } = await ok(client().auth.signInWithPassword({ email, password }));
  assert.equal(user.id, id);
  const error = await refused(client().auth.signInWithPassword({ email, password: "something else" }));
  assert.deepEqual([error.status, error.code], [400, "invalid_credentials"]);
});

check("refreshSession gives a token that works", async () => {
  const { email } = await person("ada");
  const supabase = client();
  const first = await ok(supabase.auth.signInWithPassword({ email, password }));
  const second = await ok(supabase.auth.refreshSession());
  assert.notEqual(second.session.refresh_token, first.session.refresh_token);
  await ok(supabase.from("free_agent_sessions").select("id"));
  await ok(supabase.functions.invoke("sessions", { method: "GET" }));
});

check("getUser and updateUser know the user, signOut forgets", async () => {
  const { email, id } = await person("ada");
  const supabase = client();
  await ok(supabase.auth.signInWithPassword({ email, password }));
  assert.equal((await ok(supabase.auth.getUser())).user.id, id);
  const { user } = await ok(supabase.auth.updateUser({ data: { nickname: "Ada" } }));
  assert.equal(user.user_metadata.nickname, "Ada");
  const { refresh_token } = (await supabase.auth.getSession()).data.session;
  await ok(supabase.auth.signOut().then(({ error }) => ({ error })));
  assert.equal((await supabase.auth.getSession()).data.session, null);
  await refused(client().auth.refreshSession({ refresh_token }));
});

check("insert makes a session of one's own", async () => {
  const { session } = await saved();
  assert.equal(session.user_id, (await person("ada")).id);
  assert.equal(session.latest_number, 0);
  assert.ok(!Number.isNaN(Date.parse(session.created_at)), session.created_at);
});

check("insert for somebody else is refused", async () => {
  const { supabase } = await person("eve");
  const error = await refused(supabase.from("free_agent_sessions").insert({ user_id: (await person("ada")).id }));
  assert.deepEqual([error.code, error.status], ["42501", 403]);
});

check("rpc create_session_snapshot says the number and what changed", async () => {
  const { supabase, session } = await saved();
  const [row] = await ok(supabase.rpc("create_session_snapshot", {
    p_session_id: session.id, p_base: 2, p_changes: { set: { "/memory/topic": "sencha" } }, p_label: "named",
  }));
  assert.deepEqual([row.number, row.created, row.changed_parts], [3, true, 1]);
});

check("rpc create_session_snapshot with an idempotency key counts once", async () => {
  const { supabase, id } = await saved();
  const save = { p_session_id: id, p_changes: { set: { "/x": 1 } }, p_idempotency_key: "once" };
  const first = await ok(supabase.rpc("create_session_snapshot", save).single());
  const second = await ok(supabase.rpc("create_session_snapshot", save).single());
  assert.deepEqual([first.number, second.number, second.replayed], [3, 3, true]);
});

check("rpc get_latest_snapshot gives the state back", async () => {
  const { supabase, id } = await saved();
  const latest = await ok(supabase.rpc("get_latest_snapshot", { p_session_id: id }).single());
  const messages = [...STATE.messages, { role: "assistant", content: "yo" }];
  assert.deepEqual(latest.state, { ...STATE, messages, currentStep: 2 });
  assert.equal(latest.number, 2);
});

check("rpc keeps every kind of JSON value", async () => {
  const { supabase, session: { id } } = await saved();
  const state = { s: "ü \" \\ 🍵", n: null, t: true, f: 1.5, big: 9007199254740991, neg: -0.25, o: {}, l: [[], {}, ""] };
  for (const value of [state, { text: '{"not": "parsed"}' }, { "": { "a/b~c": [1] } }]) {
    await ok(supabase.rpc("create_session_snapshot", { p_session_id: id, p_state: value }));
    assert.deepEqual((await ok(supabase.rpc("get_latest_snapshot", { p_session_id: id }).single())).state, value);
  }
});

check("rpc results can be selected from, ordered and limited", async () => {
  const { supabase, id } = await saved();
  const found = supabase.rpc("list_messages", { p_session_id: id }, { count: "exact" });
  const { data, count } = await found.select("role, position").order("position", { ascending: false }).limit(1);
  assert.deepEqual([data, count], [[{ role: "assistant", position: 1 }], 2]);
  const got = await ok(supabase.rpc("list_messages", { p_session_id: id, p_after: 0 }, { get: true }));
  assert.equal(got.length, 1);
});

check("errors arrive with our code in hint and the right status", async () => {
  const { supabase, id } = await saved();
  const cases = [
    [{ p_session_id: randomUUID(), p_state: {} }, 404, "session_not_found"],
    [{ p_session_id: id, p_changes: { set: { "/messages/0/role": 1 } } }, 422, "address_below_part"],
    [{ p_session_id: id, p_changes: { set: { "/currentStep": 9 } }, p_base: 1 }, 409, "conflict"],
  ];
  for (const [call, status, hint] of cases) {
    const error = await refused(supabase.rpc("create_session_snapshot", call));
    assert.deepEqual([error.code, error.hint, error.status], [`PT${status}`, hint, status]);
    assert.equal(typeof JSON.parse(error.details), "object");
  }
});

check("sessions_list shows counts and the last message", async () => {
  const { supabase, id } = await saved();
  const [row] = await ok(supabase.from("sessions_list").select("*").eq("id", id));
  assert.equal(row.message_count, 2);
  assert.match(JSON.stringify(row.last_message), /yo/);
});

check("session_snapshots can be paged and counted", async () => {
  const { supabase, id } = await saved();
  const of = (...how) => supabase.from("session_snapshots").select(...how).eq("session_id", id).order("number");
  const { data, count, status } = await of("number", { count: "exact" }).range(1, 1);
  assert.deepEqual([data, count, status], [[{ number: 2 }], 2, 206]);
  const head = await of("*", { count: "exact", head: true });
  assert.deepEqual([head.data, head.count], [null, 2]);
  assert.equal(await ok(of("number").csv()), "number\n1\n2");
});

check("filters find what they say", async () => {
  const { supabase, id } = await saved({ metadata: { tags: ["a"], depth: { n: 1 } }, model: "m-1" });
  const of = () => supabase.from("free_agent_sessions").select("id").eq("id", id);
  for (const found of [
    of().ilike("name", "KYO%"), of().or("name.eq.nothing,model.eq.m-1"), of().in("status", ["idle", "running"]),
    of().contains("metadata", { tags: ["a"] }), of().eq("metadata->depth->>n", "1"), of().is("archived_at", null),
    of().not("model", "is", null), of().gte("latest_number", 2), of().match({ model: "m-1" }), of().like("name", "%oto"),
  ]) assert.equal((await ok(found)).length, 1);
  assert.equal((await ok(of().neq("model", "m-1"))).length, 0);
});

check("single and maybeSingle tell none from one", async () => {
  const { supabase } = await person("ada");
  const none = () => supabase.from("free_agent_sessions").select("id").eq("id", randomUUID());
  assert.equal(await ok(none().maybeSingle()), null);
  const error = await refused(none().single());
  assert.deepEqual([error.code, error.status], ["PGRST116", 406]);
});

check("snapshots and messages embed under sessions", async () => {
  const { supabase, id } = await saved();
  const row = await ok(supabase.from("free_agent_sessions").select("*, session_snapshots(*)").eq("id", id).single());
  assert.deepEqual(row.session_snapshots.map(({ number }) => number).sort(), [1, 2]);
  const newest = { referencedTable: "session_snapshots", ascending: false };
  const limited = supabase.from("free_agent_sessions").select("id, session_snapshots(number)").eq("id", id);
  const one = { referencedTable: "session_snapshots" };
  const latest = await ok(limited.order("number", newest).limit(1, one).single());
  assert.deepEqual(latest.session_snapshots, [{ number: 2 }]);
  const talk = supabase.from("free_agent_sessions").select("name, session_messages(role, content)").eq("id", id);
  const { session_messages } = await ok(talk.order("position", { referencedTable: "session_messages" }).single());
  assert.deepEqual(session_messages, [{ role: "user", content: "hi" }, { role: "assistant", content: "yo" }]);
});

check("views embed, and rows lead to their session", async () => {
  const { supabase, id } = await saved();
  const listed = supabase.from("sessions_list").select("name, session_messages(content), session_snapshots(number)");
  const row = await ok(listed.eq("id", id).single());
  assert.equal(row.session_messages.length, 2);
  assert.equal(row.session_snapshots.length, 2);
  const up = supabase.from("session_snapshots").select("number, free_agent_sessions!inner(name)");
  const [first] = await ok(up.eq("session_id", id).eq("free_agent_sessions.name", "Kyoto").order("number"));
  assert.deepEqual(first, { number: 1, free_agent_sessions: { name: "Kyoto" } });
});

check("insert into session_messages appends", async () => {
  const { supabase, id } = await saved();
  const added = supabase.from("session_messages").insert({ session_id: id, role: "user", content: "more" });
  const row = await ok(added.select().single());
  assert.deepEqual([row.position, row.body], [2, { role: "user", content: "more" }]);
  await ok(supabase.from("session_messages").insert([{ session_id: id, body: { role: "tool", result: [1] } }]));
  const all = await ok(supabase.from("session_messages").select("role").eq("session_id", id).order("position"));
  assert.deepEqual(all.map(({ role }) => role), ["user", "assistant", "user", "tool"]);
});

check("update, upsert and delete do what they say", async () => {
  const { supabase, id } = await saved();
  const mine = (call) => call.eq("id", id).select("name").single();
  assert.deepEqual(await ok(mine(supabase.from("free_agent_sessions").update({ name: "Osaka" }))), { name: "Osaka" });
  const key = randomUUID();
  const user_id = (await person("ada")).id;
  const put = (name) => supabase.from("free_agent_sessions")
    .upsert({ user_id, key, name }, { onConflict: "user_id,key" }).select("id, name").single();
  const [first, second] = [await ok(put("one")), await ok(put("two"))];
  assert.deepEqual([second.id, second.name], [first.id, "two"]);
  const again = supabase.from("free_agent_sessions").upsert({ id: first.id, name: "three" }).select("key, name").single();
  assert.deepEqual(await ok(again), { key, name: "three" });
  const stolen = supabase.from("free_agent_sessions").update({ id: randomUUID() }).eq("id", first.id);
  assert.equal((await refused(stolen)).hint, "invalid_argument");
  assert.equal((await ok(supabase.from("free_agent_sessions").delete().eq("id", id).select("id"))).length, 1);
  assert.equal((await refused(supabase.rpc("get_latest_snapshot", { p_session_id: id }))).hint, "session_not_found");
});

check("history cannot be forged through the tables", async () => {
  const { supabase, id } = await saved();
  const row = { session_id: id, number: 9, size_bytes: 1, changed_parts: 1, message_count: 0 };
  for (const call of [
    supabase.from("session_snapshots").insert(row),
    supabase.from("session_snapshots").update({ size_bytes: 0 }).eq("session_id", id),
    supabase.from("session_snapshots").delete().eq("session_id", id),
    supabase.from("free_agent_sessions").update({ latest_number: 7 }).eq("id", id),
  ]) assert.deepEqual((await refused(call)).code, "42501");
});

check("private schemas are not exposed", async () => {
  const { supabase } = await person("ada");
  for (const schema of ["asyouwere", "auth", "pg_catalog"]) {
    assert.equal((await refused(supabase.schema(schema).from("parts").select("*"))).code, "PGRST106");
  }
  await refused(supabase.from("users").select("*"));
  await refused(supabase.rpc("save_snapshot", {}));
});

check("a stranger sees nothing and changes nothing", async () => {
  const { id } = await saved();
  const { supabase: eve } = await person("eve");
  for (const [table, column] of [["free_agent_sessions", "id"], ["sessions_list", "id"],
    ["session_snapshots", "session_id"], ["session_messages", "session_id"]]) {
    assert.deepEqual(await ok(eve.from(table).select("*").eq(column, id)), []);
  }
  assert.deepEqual(await ok(eve.from("free_agent_sessions").update({ name: "hers" }).eq("id", id).select()), []);
  assert.deepEqual(await ok(eve.from("free_agent_sessions").delete().eq("id", id).select()), []);
  const theirs = await refused(eve.rpc("get_latest_snapshot", { p_session_id: id }));
  const never = await refused(eve.rpc("get_latest_snapshot", { p_session_id: randomUUID() }));
  assert.deepEqual(theirs, never);
  assert.equal((await refused(eve.from("session_messages").insert({ session_id: id, role: "a", content: "b" }))).hint,
    "session_not_found");
});

check("nobody sees nothing and may not write", async () => {
  const { id } = await saved();
  assert.deepEqual(await ok(nobody.from("free_agent_sessions").select("id, name").eq("id", id)), []);
  assert.equal((await refused(nobody.rpc("get_latest_snapshot", { p_session_id: id }))).hint, "session_not_found");
  for (const call of [
    nobody.rpc("create_session_snapshot", { p_session_id: id, p_state: {} }),
    nobody.from("free_agent_sessions").insert({ name: "nobody's" }),
  ]) assert.deepEqual((({ code, status }) => [code, status])(await refused(call)), ["42501", 401]);
});

check("a public session is readable by nobody, and by nobody writable", async () => {
  const { supabase, id } = await saved();
  await ok(supabase.from("free_agent_sessions").update({ visibility: "public" }).eq("id", id));
  assert.equal((await ok(nobody.rpc("get_latest_snapshot", { p_session_id: id }).single())).number, 2);
  assert.equal((await ok(nobody.from("session_messages").select("content").eq("session_id", id))).length, 2);
  assert.equal((await ok(nobody.from("free_agent_sessions").select("name").eq("id", id))).length, 1);
  await refused(nobody.from("session_messages").insert({ session_id: id, role: "a", content: "b" }));
});

check("a viewer reads and an editor saves", async () => {
  const { supabase, id } = await saved({ visibility: "shared" });
  const { supabase: bob, id: user_id } = await person("bob");
  const save = () => bob.rpc("create_session_snapshot", { p_session_id: id, p_changes: { set: { "/by": "bob" } } });
  await ok(supabase.rpc("set_session_member", { p_session_id: id, p_user_id: user_id, p_role: "viewer" }));
  await ok(bob.rpc("accept_invitation", { p_session_id: id }));
  assert.equal((await ok(bob.rpc("get_latest_snapshot", { p_session_id: id }).single())).number, 2);
  assert.deepEqual((({ hint, status }) => [hint, status])(await refused(save())), ["forbidden", 403]);
  await ok(supabase.rpc("set_session_member", { p_session_id: id, p_user_id: user_id, p_role: "editor" }));
  assert.equal((await ok(save().single())).number, 3);
});

check("functions.invoke saves and restores", async () => {
  const { supabase, id } = await saved();
  const invoke = (name, body, headers) => supabase.functions.invoke(name, { body, headers });
  const body = { session_id: id, base: 2, changes: { set: { "/big": "x".repeat(1_000_000) } } };
  const first = await ok(invoke("session-snapshot-save", body, { "Idempotency-Key": "turn-3" }));
  const second = await ok(invoke("session-snapshot-save", body, { "Idempotency-Key": "turn-3" }));
  assert.deepEqual([first.number, second.number, second.replayed], [3, 3, true]);
  const restored = await ok(invoke("session-snapshot-restore", { session_id: id }));
  assert.equal(restored.state.big.length, 1_000_000);
  const methods = [["GET", undefined], ["PATCH", { name: "renamed" }], ["DELETE", undefined]];
  for (const [method, body] of methods) {
    const { error, response } = await supabase.functions.invoke(`sessions/${id}`, { method, body });
    assert.ok(!error && response.ok, method);
  }
});

check("functions.invoke tells errors by status and code", async () => {
  const { supabase } = await person("ada");
  const call = [["session-snapshot-restore", { body: { session_id: randomUUID() } }]][0];
  const { error } = await supabase.functions.invoke(...call);
  assert.equal(error.context.status, 404);
  assert.equal((await error.context.json()).code, "session_not_found");
  const unsigned = await nobody.functions.invoke(...call);
  assert.equal(unsigned.error.context.status, 401);
});

check("the service key cleans up and sees all, and a user may not clean up", async () => {
  const { id, supabase } = await saved();
  const service = client(SUPABASE_SERVICE_KEY);
  assert.equal((await ok(service.functions.invoke("cleanup-old-snapshots", { body: {} }))).done, true);
  const { error } = await supabase.functions.invoke("cleanup-old-snapshots", { body: {} });
  assert.ok([401, 403].includes(error.context.status));
  assert.equal((await ok(service.from("free_agent_sessions").select("id").eq("id", id))).length, 1);
  assert.equal((await ok(service.rpc("cleanup_old_snapshots").single())).done, true);
  assert.equal((await refused(supabase.rpc("cleanup_old_snapshots"))).code, "42501");
});

check("signInAnonymously gives a user of one's own", async () => {
  const supabase = client();
  const { user } = await ok(supabase.auth.signInAnonymously({ options: { data: { theme: "dark" } } }));
  assert.deepEqual([user.is_anonymous, user.email, user.user_metadata], [true, "", { theme: "dark" }]);
  const row = await ok(supabase.from("free_agent_sessions").insert({ name: "guest's" }).select().single());
  assert.equal(row.user_id, user.id);
  await ok(supabase.rpc("create_session_snapshot", { p_session_id: row.id, p_state: STATE }));
  const { session } = await ok(supabase.auth.refreshSession());
  assert.equal(session.user.is_anonymous, true);
  assert.equal((await ok(supabase.auth.getUser())).user.is_anonymous, true);
  await ok(supabase.functions.invoke("session-snapshot-restore", { body: { session_id: row.id } }));
  const other = client();
  await ok(other.auth.signInAnonymously());
  assert.deepEqual(await ok(other.from("free_agent_sessions").select("*").eq("id", row.id)), []);
});

check("the service key makes, lists, changes and deletes users", async () => {
  const { admin } = client(SUPABASE_SERVICE_KEY).auth;
  const email = `made-${randomUUID()}@example.org`;
  const { user } = await ok(admin.createUser({ email, password, email_confirm: true, user_metadata: { a: 1 } }));
  assert.equal(user.user_metadata.a, 1);
  assert.equal((await ok(client().auth.signInWithPassword({ email, password }))).user.id, user.id);
  assert.equal((await refused(admin.createUser({ email, password }))).code, "email_exists");
  const { users } = await ok(admin.listUsers({ page: 1, perPage: 1000 }));
  assert.ok(users.some(({ id }) => id === user.id));
  assert.equal((await ok(admin.getUserById(user.id))).user.email, email);
  await ok(admin.updateUserById(user.id, { password: "a second password", user_metadata: { b: 2 } }));
  const signed = await ok(client().auth.signInWithPassword({ email, password: "a second password" }));
  assert.deepEqual([signed.user.user_metadata.a, signed.user.user_metadata.b], [1, 2]);
  await ok(admin.deleteUser(user.id));
  assert.equal((await refused(admin.getUserById(user.id))).status, 404);
  await refused(client().auth.signInWithPassword({ email, password: "a second password" }));
  const { supabase } = await person("ada");
  assert.equal((await refused(supabase.auth.admin.listUsers())).status, 403);
});

check("callers at the same time are never taken for one another", async () => {
  const { id } = await saved();
  const callers = [[(await person("ada")).supabase, 1], [(await person("eve")).supabase, 0], [nobody, 0]];
  const asked = Array.from({ length: 150 }, (_, n) => {
    const [supabase, expected] = callers[n % 3];
    // one in five fails in the middle of its transaction
    if (n % 5 === 4) return refused(supabase.rpc("get_snapshot", { p_session_id: id, p_number: 99 }));
    return ok(supabase.from("free_agent_sessions").select("id").eq("id", id)).then((rows) => {
      assert.equal(rows.length, expected);
    });
  });
  await Promise.all(asked);
});

check("two who append at once lose nothing", async () => {
  const { supabase, id } = await saved();
  const append = (n) => supabase.rpc("append_session_messages", { p_session_id: id, p_messages: [{ n }] }).single();
  const positions = (await Promise.all(Array.from({ length: 30 }, (_, n) => ok(append(n))))).map((row) => row.first_position);
  assert.deepEqual(positions.sort((a, b) => a - b), Array.from({ length: 30 }, (_, n) => n + 2));
});

check("a forged token or key is refused", async () => {
  const [head, , tail] = SUPABASE_ANON_KEY.split(".");
  const claims = Buffer.from(JSON.stringify({ role: "service_role", exp: 4102444800 })).toString("base64url");
  const forged = `${head}.${claims}.${tail}`;
  assert.equal((await client(forged).from("free_agent_sessions").select("id")).status, 401);
  const global = { headers: { Authorization: `Bearer ${forged}` } };
  const told = createClient(SUPABASE_URL, SUPABASE_ANON_KEY, { ...options, global });
  assert.equal((await told.from("free_agent_sessions").select("id")).status, 401);
});

check("a page in a browser may ask", async () => {
  const asks = {
    Origin: "http://localhost:5173",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "apikey,authorization,content-type,idempotency-key,x-client-info",
  };
  for (const path of ["/rest/v1/free_agent_sessions", "/auth/v1/token", "/functions/v1/session-snapshot-save"]) {
    const before = await fetch(SUPABASE_URL + path, { method: "OPTIONS", headers: asks });
    assert.ok(before.ok, path);
    assert.ok(["*", asks.Origin].includes(before.headers.get("access-control-allow-origin")));
    assert.match(before.headers.get("access-control-allow-headers"), /idempotency-key/i);
    const asked = await fetch(SUPABASE_URL + path, { headers: { Origin: asks.Origin, apikey: SUPABASE_ANON_KEY } });
    assert.ok(["*", asks.Origin].includes(asked.headers.get("access-control-allow-origin")), path);
  }
});

check("a realtime channel that is not there does no harm", async () => {
  const { supabase } = await person("ada");
  const channel = supabase.channel("session:nothing").subscribe(() => {});
  await ok(supabase.from("free_agent_sessions").select("id").limit(1));
  await supabase.removeChannel(channel);
});

await run();
process.exit(0);
