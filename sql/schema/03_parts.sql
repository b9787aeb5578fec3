-- Where the content lives. A part is one address of the state with one body and a lifespan in snapshot
-- numbers: it belongs to snapshot N if since <= N and until > N.
-- Breaks running code: no.

create table asyouwere.parts (
    session bigint not null,
    created_at timestamptz not null,
    since int not null,
    until int not null default 2147483647,
    item int not null default -1,
    ord int not null,
    size int not null,
    depth smallint not null,
    kind "char" not null,
    path text collate "C" not null,
    body text collate "C" not null,
    primary key (session, since, ord)
);
comment on table asyouwere.parts is 'The states of all sessions, one row for each part and lifespan.';
comment on column asyouwere.parts.session is
    'free_agent_sessions.internal_id. No foreign key: every writer holds the session''s row lock.';
comment on column asyouwere.parts.created_at is
    'When this address came into being; later versions of the part keep it.';
comment on column asyouwere.parts.since is 'First snapshot number it belongs to.';
comment on column asyouwere.parts.until is
    'First snapshot number it no longer belongs to; the largest int while it is live.';
comment on column asyouwere.parts.item is 'Position in the list at path; -1 for the member at path itself.';
comment on column asyouwere.parts.ord is
    'Tells the parts of one save apart, so that the key also answers "changed since".';
comment on column asyouwere.parts.size is
    'What it counts as, see part_size(): so no sum has to fetch bodies.';
comment on column asyouwere.parts.depth is 'How many keys lead to path: 1 to 3.';
comment on column asyouwere.parts.kind is
    'v: value kept whole, o: opened object, l: opened list, i: item of a list.';
comment on column asyouwere.parts.path is
    'JSON Pointer with a closing /, its keys written as inside a JSON string: byte order is depth-first '
    'order, a subtree is one range, and any key can be stored.';
comment on column asyouwere.parts.body is 'JSON text as it was sent; {} or [] for an opened container.';

-- "Alive at an address" and "everything alive under an address": one probe, one range.
create unique index parts_live on asyouwere.parts (session, path, item) where until = 2147483647;
-- "What ended after N", for older numbers, for sync, for pruning; `since` tells without a look at the row
-- that one began later still, and lies where Postgres would leave a gap of four bytes.
create index parts_dead on asyouwere.parts (session, until, since) where until < 2147483647;

-- Ordinary messages stay in the row: fetching them from TOAST made a restore half as slow again.
alter table asyouwere.parts set (
    toast_tuple_target = 8160,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_insert_scale_factor = 0.1
);

-- Invoker, like every view: the row level security of parts decides who sees what. `until` is in it, so that
-- a row of the view is a row of the table, and a part is ended by an update of it.
create view asyouwere.live_parts with (security_invoker = true) as
select * from asyouwere.parts where until = 2147483647;
comment on view asyouwere.live_parts is
    'The parts of all latest states. The planner sees through it, to the index of the living.';

create view asyouwere.ended_parts with (security_invoker = true) as
select * from asyouwere.parts where until < 2147483647;
comment on view asyouwere.ended_parts is 'The parts that only older snapshots have.';

create function asyouwere.part_kind(p_depth int, p_item int, p_body text) returns "char"
language sql immutable parallel safe
return case
    when p_item >= 0 then 'i'::"char"
    when p_depth < 3 and p_body = '{}' then 'o'::"char"
    when p_depth < 3 and p_body = '[]' then 'l'::"char"
    else 'v'::"char" end;
comment on function asyouwere.part_kind is 'What parts.kind must be.';
revoke execute on function asyouwere.part_kind from public;

create function asyouwere.part_size(p_path text, p_body text) returns int
language sql immutable parallel safe
-- A row of two index entries takes some 100 bytes besides: without them, and the address, thousands of small
-- parts with long keys would be a state of no size.
return octet_length(p_path) + octet_length(p_body) + 100;
comment on function asyouwere.part_size is 'What a part counts as, in bytes: address, body and a row.';
revoke execute on function asyouwere.part_size from public;

create function asyouwere.parts_at(p_session bigint, p_number int) returns setof asyouwere.parts
language sql stable parallel safe rows 1000
begin atomic
    -- Two branches because "alive" and "ended" have an index each. No SET clause, so that the planner can see
    -- inside; the names were bound when the function was made, so no search_path can change them. So was the
    -- list of columns: a migration that adds one makes the views and the functions that return whole parts
    -- anew.
    select * from asyouwere.live_parts where session = p_session and since <= p_number
    union all
    select * from asyouwere.ended_parts where session = p_session and until > p_number and since <= p_number;
end;
comment on function asyouwere.parts_at is 'The parts that belong to a snapshot number.';
revoke execute on function asyouwere.parts_at from public;

-- What tells two numbers apart, read off two short index ranges: it costs what has changed, not what there
-- is.
create function asyouwere.parts_begun(p_session bigint, p_from int, p_to int default 2147483646)
returns setof asyouwere.parts
language sql stable parallel safe rows 100
begin atomic
    -- by the primary key; "until > p_to" also says "alive", but keeps the index of all the living out of the
    -- plan
    select * from asyouwere.parts
    where session = p_session and since > p_from and since <= p_to and until > p_to;
end;
comment on function asyouwere.parts_begun is
    'The parts that belong to the later number p_to (default: the latest, whatever it is) and not to p_from.';
revoke execute on function asyouwere.parts_begun from public;

create function asyouwere.parts_ended(p_session bigint, p_from int, p_to int default 2147483646)
returns setof asyouwere.parts
language sql stable parallel safe rows 100
begin atomic
    select * from asyouwere.ended_parts
    where session = p_session and until > p_from and until <= p_to and since <= p_from;
end;
comment on function asyouwere.parts_ended is
    'The parts that belong to p_from and not to the later number p_to (default: the latest, whatever it is).';
revoke execute on function asyouwere.parts_ended from public;

create table asyouwere.save_keys (
    session bigint not null,
    key uuid not null,
    content uuid not null,
    created_at timestamptz not null default now(),
    number int not null,
    changed_parts int not null,
    made_snapshot boolean not null,
    merged boolean not null,
    primary key (session, key)
);
comment on table asyouwere.save_keys is
    'Saves that carried an idempotency key. Apart from the snapshots, so that a retry is known after they '
    'are pruned.';
comment on column asyouwere.save_keys.key is 'MD5 of the key: sixteen bytes whatever people use as keys.';
comment on column asyouwere.save_keys.content is
    'MD5 of what was asked, to tell a retry from another save under the same key.';
comment on column asyouwere.save_keys.number is 'The number that was answered.';
comment on column asyouwere.save_keys.changed_parts is 'What was answered.';
comment on column asyouwere.save_keys.merged is 'What was answered.';
comment on column asyouwere.save_keys.made_snapshot is
    'False: nothing had changed and number was the latest then.';
