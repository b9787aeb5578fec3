-- Branches: a fork remembers where it comes from and can be merged back, in one call. Three ways: the base
-- is the fork's own number at which the two were equal last, so it needs no history of the origin's; mine
-- is what the fork changed since, theirs how the origin differs from that base. What is a conflict is
-- decided in 07_merging.sql.
-- Breaks running code: no.

create table asyouwere.fork_origins (
    session_id uuid primary key references public.free_agent_sessions (id) on delete cascade,
    origin_id uuid not null,
    origin_number int not null,
    base_number int not null,
    merged_number int,
    merged_at timestamptz
);
comment on table asyouwere.fork_origins is 'Where forks come from, and how far each has been merged back.';
comment on column asyouwere.fork_origins.origin_id is
    'No foreign key: an origin forked a million times is deleted as any. An id that was used is nobody '
    'else''s ever.';
comment on column asyouwere.fork_origins.origin_number is
    'The number of the origin''s that it was forked from.';
comment on column asyouwere.fork_origins.base_number is
    'The fork''s own number that is in the origin by now: 1, later the one merged last. Clean-up leaves it.';
comment on column asyouwere.fork_origins.merged_number is
    'The origin''s number that the last merge answered.';
alter table asyouwere.fork_origins enable row level security; -- no policy: the functions only

create function asyouwere.read_fork_origin(p_session_id uuid) returns asyouwere.fork_origins
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
    v_origin asyouwere.fork_origins;
begin
    -- definer: the table is private
    if asyouwere.is_insider(v_session.id, v_session.user_id) then
        select * into v_origin from asyouwere.fork_origins f where f.session_id = v_session.id;
    end if;
    return v_origin;
end;
$$;
comment on function asyouwere.read_fork_origin is 'Where a fork comes from, for its owner and members.';
revoke execute on function asyouwere.read_fork_origin from public;
grant execute on function asyouwere.read_fork_origin to authenticated, service_role;

create function public.get_fork_origin(p_session_id uuid)
returns table (origin_id uuid, origin_number int, base_number int, merged_number int, merged_at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select o.origin_id, o.origin_number, o.base_number, o.merged_number, o.merged_at
    from asyouwere.read_fork_origin(p_session_id) o where o.session_id is not null;
end;
$$;
comment on function public.get_fork_origin is
    'The session that this one was forked from and its number then; the fork''s own number that was '
    'merged back last '
    '(at first 1), and when, as which number of the origin''s. No row: it is no fork, or the caller is '
    'neither owner '
    'nor member. Raises session_not_found.';
revoke execute on function public.get_fork_origin from public, anon, authenticated, service_role;
grant execute on function public.get_fork_origin to authenticated, service_role;

create type asyouwere.merge_sides as (
    mine asyouwere.part_change[], placed asyouwere.part_change[], appended asyouwere.part_change[],
    theirs asyouwere.part_change[]
);
comment on type asyouwere.merge_sides is
    'What a fork changed (placed: where it stands, appended: past the end of a list) and how its origin '
    'differs.';

create function asyouwere.sides_of_fork(
    p_fork bigint, p_base int, p_latest int, p_origin bigint, p_number int
) returns asyouwere.merge_sides
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
    v_sides asyouwere.merge_sides;
begin
    v_sides.mine := array(
        select (coalesce(b.path, l.path), coalesce(b.item, l.item), b.body, l.body)::asyouwere.part_change
        from asyouwere.parts_ended(p_fork, p_base, p_latest) b
        full join asyouwere.parts_begun(p_fork, p_base, p_latest) l on l.path = b.path and l.item = b.item
        where b.body is distinct from l.body
        limit 20001);
    v_sides.theirs := array(
        select (coalesce(b.path, l.path), coalesce(b.item, l.item), b.body, l.body)::asyouwere.part_change
        from asyouwere.parts_at(p_fork, p_base) b
        full join asyouwere.parts_at(p_origin, p_number) l on l.path = b.path and l.item = b.item
        where b.body is distinct from l.body
        limit 20001);
    if cardinality(v_sides.mine) > 20000 or cardinality(v_sides.theirs) > 20000 then
        perform asyouwere.fail('too_large',
            'Fork and origin differ in more than 20,000 parts. Restore both and save what is to be.');
    end if;
    select array_agg(m) filter (where m.item >= l.length is not true),
        array_agg(m) filter (where m.item >= l.length)
    into v_sides.placed, v_sides.appended
    from asyouwere.each_change(v_sides.mine) m
    left join asyouwere.lists_in_common(p_fork, p_base, v_sides.mine, v_sides.theirs) l
        on l.path = m.path and m.item >= 0;
    return v_sides;
end;
$$;
comment on function asyouwere.sides_of_fork is
    'Both sides of a merge, address by address. Raises too_large.';
revoke execute on function asyouwere.sides_of_fork from public;

create function asyouwere.without(
    p_changes asyouwere.part_change[], p_paths text[], p_items int[]
) returns asyouwere.part_change[]
language sql stable set search_path = pg_catalog, pg_temp
as $$
    -- each place is an item, or (-1) a member with all that is in it
    select array_agg(c) from asyouwere.each_change(p_changes) c
    where (c.path, c.item) not in (select u.path, u.item from unnest(p_paths, p_items) u (path, item))
        and not exists (
            select from unnest(asyouwere.path_ancestors(c.path)) above
            where (above in (select u.path from unnest(p_paths, p_items) u (path, item) where u.item = -1)) is true)
$$;
comment on function asyouwere.without is 'Changes without those at or inside of some places.';
revoke execute on function asyouwere.without from public;

create function asyouwere.decided_places(
    p_sides asyouwere.merge_sides, p_prefer text, p_choices jsonb, p_latest int
) returns table (side text, path text, item int)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_sides text[];
    v_paths text[];
    v_items int[];
    v_open text[];
begin
    -- the longest address of p_choices that a clash is at or in; else p_prefer
    with chosen as materialized (
        select asyouwere.path_of_pointer(k.key) as path, k.value as side from jsonb_each_text(p_choices) k
    ), decided as (
        -- by equal addresses, so that a thousand choices for thousands of clashes are hashed
        select c.path, c.item, coalesce(
            (array_agg(h.side order by length(h.path) desc) filter (where h.side is not null))[1], p_prefer) as side
        from asyouwere.clashes(p_sides.mine, p_sides.placed, p_sides.theirs, '{}') c
        cross join unnest(asyouwere.path_ancestors(c.path) || '/'::text
            || case when c.item >= 0 then c.path || c.item || '/' end) above
        left join chosen h on h.path = above
        group by c.path, c.item
    )
    select array_agg(d.side order by d.path, d.item), array_agg(d.path order by d.path, d.item),
        array_agg(d.item order by d.path, d.item),
        array_agg(asyouwere.pointer_json(d.path, d.item) order by d.path, d.item) filter (where d.side
            is null)
    into v_sides, v_paths, v_items, v_open
    from decided d;
    if v_open is not null then
        perform asyouwere.refuse_conflict(v_open, cardinality(v_open), p_latest);
    end if;
    -- How far a decision reaches: to the topmost member that the origin has removed or replaced, if the
    -- fork's is to be there; and a list that either has made shorter is decided as a whole.
    return query
    select distinct w.side, coalesce(w.above, w.path), case when w.above is not null or w.is_cut then -1
        else w.item end
    from (
        select c.side, c.path, c.item, (
            select min(above collate "C") from unnest(asyouwere.path_ancestors(c.path)) above
            -- "is true": a hash made once, not a loop for each
            where c.side = 'fork' and (above in (
                select t.path from asyouwere.each_change(p_sides.theirs) t where t.item = -1)) is true) as above,
            c.item >= 0 and c.path in (
                select m.path from asyouwere.each_change(p_sides.mine) m where m.item >= 0 and m.new is null
                union all
                select t.path from asyouwere.each_change(p_sides.theirs) t where t.item >= 0 and t.new is null
            ) as is_cut
        from unnest(v_sides, v_paths, v_items) c (side, path, item)
    ) w;
end;
$$;
comment on function asyouwere.decided_places is
    'For each clash whose side stands, and how far that reaches. Raises conflict with those that nobody '
    'decided.';
revoke execute on function asyouwere.decided_places from public;

create function asyouwere.rows_of_merge(
    p_fork public.free_agent_sessions, p_base int, p_origin public.free_agent_sessions, p_prefer text,
        p_choices jsonb
) returns asyouwere.change_rows
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
    v_sides asyouwere.merge_sides := asyouwere.sides_of_fork(
        p_fork.internal_id, p_base, p_fork.latest_number, p_origin.internal_id, p_origin.latest_number);
    v_paths text[];
    v_items int[];
    v_fork_paths text[];
    v_fork_items int[];
    v_rows asyouwere.change_rows;
begin
    select array_agg(d.path), array_agg(d.item), array_agg(d.path) filter (where d.side = 'fork'),
        array_agg(d.item) filter (where d.side = 'fork')
    into v_paths, v_items, v_fork_paths, v_fork_items
    from asyouwere.decided_places(v_sides, p_prefer, p_choices, p_origin.latest_number) d;
    if v_paths is not null then
        v_sides.mine := asyouwere.without(v_sides.mine, v_paths, v_items);
        v_sides.placed := asyouwere.without(v_sides.placed, v_paths, v_items);
        v_sides.appended := asyouwere.without(v_sides.appended, v_paths, v_items);
    end if;
    perform asyouwere.refuse_gaps_of_caller(p_fork.internal_id, p_base, v_sides.placed, v_sides.appended);
    with merged as (
        select case when m.new is null then 'drop' else 'put' end as op, m.path, m.item, m.new as body,
            m.item as place
        from asyouwere.each_change(v_sides.placed) m
        left join asyouwere.each_change(v_sides.theirs) t on t.path = m.path and t.item = m.item
        where t.path is null or m.new is distinct from t.new
        union all
        select 'append', m.path, null, m.new, m.item from asyouwere.each_change(v_sides.appended) m
        union all
        -- where the fork's stands, all of it as in the fork
        select case when f.path is null then 'drop' else 'put' end, coalesce(f.path, o.path),
            coalesce(f.item, o.item), f.body, coalesce(f.item, o.item)
        from (
            select p.path, p.item, p.body from asyouwere.parts_at(p_fork.internal_id, p_fork.latest_number) p
            where v_fork_paths is not null
        ) f
        full join (
            select p.path, p.item, p.body from asyouwere.parts_at(p_origin.internal_id,
                p_origin.latest_number) p
            where v_fork_paths is not null
        ) o on o.path = f.path and o.item = f.item
        where f.body is distinct from o.body and (
            (coalesce(f.path, o.path), coalesce(f.item, o.item)) in (
                select u.path, u.item from unnest(v_fork_paths, v_fork_items) u (path, item))
            or exists (
                select from unnest(asyouwere.path_ancestors(coalesce(f.path, o.path))) above
                where (above in (
                    select u.path from unnest(v_fork_paths, v_fork_items) u (path, item) where u.item = -1)) is true))
    )
    select array_agg(op order by path, place), array_agg(path order by path, place),
        array_agg(item order by path, place), array_agg(body order by path, place)
    into v_rows.ops, v_rows.paths, v_rows.items, v_rows.bodies
    from merged;
    return v_rows;
end;
$$;
comment on function asyouwere.rows_of_merge is
    'What merging a fork writes into its origin, as change rows. Raises conflict, list_gap, too_large.';
revoke execute on function asyouwere.rows_of_merge from public;

create function asyouwere.merge_back(
    p_session_id uuid, p_prefer text, p_choices jsonb, p_idempotency_key text, p_label text
) returns asyouwere.save_result
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
    v_fork public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
    v_origin public.free_agent_sessions;
    v_from asyouwere.fork_origins;
    v_rows asyouwere.change_rows;
    v_result asyouwere.save_result;
    v_key uuid := md5(p_idempotency_key)::uuid;
    v_content uuid := md5(concat_ws(E'\x01', 'merge', p_session_id, p_prefer, p_choices, p_label))::uuid;
    v_earlier asyouwere.save_keys;
begin
    -- definer: nobody writes parts but through here
    if p_prefer not in ('fork', 'origin') or jsonb_typeof(p_choices) is distinct from 'object'
        or (select count(*) > 1000 or bool_or(k.value is null or k.value not in ('fork', 'origin'))
            from jsonb_each_text(case jsonb_typeof(p_choices) when 'object' then p_choices else '{}' end) k)
    then
        perform asyouwere.fail('invalid_argument',
            'A side is fork or origin; p_choices has at most 1,000 addresses with a side each.');
    elsif length(p_idempotency_key) not between 1 and 255 or length(p_label) not between 1 and 200 then
        perform asyouwere.fail('invalid_argument',
            'An idempotency key has 1 to 255 characters, a label 1 to 200.');
    end if;
    perform asyouwere.path_of_pointer(k.key) from jsonb_each_text(p_choices) k;
    select * into v_from from asyouwere.fork_origins f where f.session_id = v_fork.id;
    if not found then
        perform asyouwere.fail('invalid_argument', 'This session is no fork of another.');
    end if;
    -- The fork is only read, at the number it has now: its own saves go on. Two merges of it meet at this
    -- lock.
    v_origin := asyouwere.session_to_write(v_from.origin_id);
    select * into v_earlier from asyouwere.save_keys k
    where k.session = v_origin.internal_id and k.key = v_key;
    if found then
        return asyouwere.replay_save(v_origin, v_earlier, v_content, null);
    end if;
    -- Who holds this row is deleting the fork, and may wait for the origin: not waited for.
    select * into v_from from asyouwere.fork_origins f where f.session_id = v_fork.id
    for update skip locked;
    if not found then
        perform asyouwere.fail('session_not_found');
    end if;
    if greatest(v_fork.size_bytes, v_origin.size_bytes) > 1024 * 1024 then
        perform asyouwere.refuse_second_large(); -- both are read whole
    end if;
    v_fork := asyouwere.session_to_read(p_session_id);
    perform asyouwere.find_snapshot(v_fork, v_from.base_number, null);
    v_rows := asyouwere.rows_of_merge(v_fork, v_from.base_number, v_origin, p_prefer, p_choices);
    v_result := asyouwere.write_snapshot(v_origin, v_rows, true, p_label, v_key, v_content);
    update asyouwere.fork_origins f
    set base_number = v_fork.latest_number, merged_number = v_result.number, merged_at = now()
    where f.session_id = v_fork.id;
    return v_result;
end;
$$;
comment on function asyouwere.merge_back is
    'Checks access to both sessions, then writes what the fork has changed into its origin.';
revoke execute on function asyouwere.merge_back from public;
grant execute on function asyouwere.merge_back to authenticated, service_role;

create function public.merge_fork(
    p_session_id uuid, p_prefer text default null, p_choices jsonb default '{}',
    p_idempotency_key text default null, p_label text default null
) returns setof asyouwere.save_result
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.merge_back(p_session_id, p_prefer, p_choices, p_idempotency_key, p_label);
end;
$$;
comment on function public.merge_fork is
    'Merge what a fork has changed since it was forked, or merged last, into its origin, as one snapshot '
    'there. '
    'Conflicts are named and nothing is written, unless p_choices {pointer: "fork" or "origin"} or '
    'p_prefer decide '
    'each. Whoever reads the fork and may save into the origin. Answers as create_session_snapshot, of '
    'the origin. '
    'Raises conflict, snapshot_gone, too_large, invalid_argument.';
revoke execute on function public.merge_fork from public, anon, authenticated, service_role;
grant execute on function public.merge_fork to authenticated, service_role;
