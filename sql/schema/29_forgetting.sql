-- Forgetting by a session's owner: numbers that are to go at once, and a removal that leaves nothing of
-- itself in older numbers. What no kept number shows is deleted with it, up to a bound; the clean-up deletes
-- the rest.
-- Breaks running code: no.

create type asyouwere.forgotten as (
    number int, snapshots int, parts int, turns int, bytes bigint, done boolean
);
comment on type asyouwere.forgotten is
    'A receipt: the latest number, what went, and whether all of it is deleted already (else the clean-up '
    'does it).';

create function asyouwere.delete_numbers(p_session public.free_agent_sessions, p_numbers int[])
returns asyouwere.forgotten
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_forgotten asyouwere.forgotten;
    v_latest int := (select s.latest_number from public.free_agent_sessions s where s.id = p_session.id);
    v_swept record;
begin
    with judged as materialized (
        select n.number, n.number = any (p_numbers) and n.number < v_latest as goes
        from public.session_snapshots n where n.session_id = p_session.id
    ), neighbours as (
        -- between which two that stay each one lies
        select j.number, j.goes,
            coalesce(max(j.number) filter (where not j.goes) over (order by j.number), 0) as before,
            min(j.number) filter (where not j.goes)
                over (order by j.number rows between current row and unbounded following) as behind
        from judged j
    ), removed as (
        delete from public.session_snapshots n
        where n.session_id = p_session.id and n.number in (select j.number from judged j where j.goes)
        returning 1
    ), unseen as (
        insert into asyouwere.unswept (session, since_after, until_after, until_through)
        select p_session.internal_id, n.before, min(n.number), n.behind
        from neighbours n where n.goes group by n.before, n.behind
    )
    select count(*) into v_forgotten.snapshots from removed;
    select * into v_swept from asyouwere.sweep(5000, 16 * 1024 * 1024, p_session.internal_id);
    with settled as (
        delete from asyouwere.unswept u where u.session = p_session.internal_id
            and u.is_swept returning u.freed_bytes
    )
    update public.free_agent_sessions s
    set stored_bytes = s.stored_bytes - (select coalesce(sum(f.freed_bytes), 0) from settled f)
    where s.id = p_session.id and exists (select from settled);
    v_forgotten.number := v_latest;
    v_forgotten.parts := v_swept.parts;
    v_forgotten.turns := 0;
    v_forgotten.bytes := v_swept.bytes;
    v_forgotten.done := v_swept.finished;
    return v_forgotten;
end;
$$;
comment on function asyouwere.delete_numbers is
    'Deletes snapshots, never the latest, and what only they show. The caller holds the session''s lock.';
revoke execute on function asyouwere.delete_numbers from public;

create function asyouwere.forget_snapshots(p_session_id uuid, p_numbers int[], p_labels text[])
returns asyouwere.forgotten
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_write(p_session_id, 'owner');
    v_numbers int[];
begin
    -- definer: nobody deletes snapshots but through here
    if coalesce(cardinality(p_numbers), 0) + coalesce(cardinality(p_labels), 0) not between 1 and 1000 then
        perform asyouwere.fail('invalid_argument', 'Give 1 to 1,000 numbers and labels.');
    end if;
    v_numbers := array(
        select n.number from public.session_snapshots n
        where n.session_id = v_session.id and (n.number = any (p_numbers) or n.label = any (p_labels)));
    if v_session.latest_number = any (v_numbers) then
        perform asyouwere.fail('invalid_argument',
            'The latest snapshot is the state. Save another one first.');
    end if;
    return asyouwere.delete_numbers(v_session, v_numbers);
end;
$$;
comment on function asyouwere.forget_snapshots is 'Checks access and numbers, then deletes them.';
revoke execute on function asyouwere.forget_snapshots from public;
grant execute on function asyouwere.forget_snapshots to authenticated, service_role;

create function public.delete_snapshots(p_session_id uuid, p_numbers int[] default null,
    p_labels text[] default null)
returns setof asyouwere.forgotten
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.forget_snapshots(p_session_id, p_numbers, p_labels);
end;
$$;
comment on function public.delete_snapshots is
    'Delete snapshots by number or label, labelled ones too, never the latest, with all that only they show.'
    ' One row: the '
    'receipt. Numbers and labels that are not there are passed by. Owner only. Raises '
    'session_not_found, forbidden, '
    'invalid_argument.';
revoke execute on function public.delete_snapshots from public, anon, authenticated, service_role;
grant execute on function public.delete_snapshots to authenticated, service_role;

create function asyouwere.numbers_with(p_session public.free_agent_sessions,
    p_rows asyouwere.change_rows) returns int[]
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
begin
    return array(
        select n.number from public.session_snapshots n
        where n.session_id = p_session.id and exists (
            select from (
                select int4range(e.since, e.until) as life
                from asyouwere.ended_parts e
                join unnest(p_rows.paths, p_rows.items) as g (path, item)
                    on case when g.item >= 0 then e.path = g.path and e.item = g.item
                        else e.path >= g.path and e.path < asyouwere.path_end(g.path) end
                where e.session = p_session.internal_id
            ) l
            where n.number <@ l.life));
end;
$$;
comment on function asyouwere.numbers_with is
    'The kept numbers that show something, by now gone or changed, at or under the addresses of change rows.';
revoke execute on function asyouwere.numbers_with from public;

create function asyouwere.forget_parts(p_session_id uuid, p_addresses json) returns asyouwere.forgotten
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_write(p_session_id, 'owner');
    v_rows asyouwere.change_rows;
    v_all boolean;
    v_chunks record;
    v_forgotten asyouwere.forgotten;
begin
    -- definer: nobody writes parts but through here
    select array_agg('remove'::text), array_agg(a.path), array_agg(null::int), array_agg(null::text),
        bool_or(a.path = '/')
    into v_rows.ops, v_rows.paths, v_rows.items, v_rows.bodies, v_all
    from asyouwere.open_asked(p_addresses) a;
    if exists (select from asyouwere.open_asked(p_addresses) a where a.is_range) then
        perform asyouwere.fail('invalid_argument', 'What is to be forgotten is named by pointers.');
    end if;
    if v_all then
        v_rows := (array['set'], array['/'], array[-1], array['{}'])::asyouwere.change_rows;
    else
        perform asyouwere.refuse_overlaps(v_rows);
        v_rows := asyouwere.resolve_addresses(v_session.internal_id, v_session.latest_number, v_rows);
    end if;
    perform asyouwere.write_snapshot(v_session, v_rows, false, null, null, null);
    v_forgotten := asyouwere.delete_numbers(v_session, asyouwere.numbers_with(v_session, v_rows));
    -- what the answers of turns said lies in their chunks as well, for whoever follows behind
    if v_all or exists (select from unnest(v_rows.paths) p (path) where starts_with(p.path, '/messages/')) then
        select * into v_chunks from asyouwere.drop_chunks(v_session);
        v_forgotten.turns := v_chunks.turns;
        v_forgotten.done := v_forgotten.done and v_chunks.finished;
    end if;
    return v_forgotten;
end;
$$;
comment on function asyouwere.forget_parts is
    'Removes addresses, and every older number that shows something there.';
revoke execute on function asyouwere.forget_parts from public;
grant execute on function asyouwere.forget_parts to authenticated, service_role;

create function public.forget_session_parts(p_session_id uuid, p_addresses json)
returns setof asyouwere.forgotten
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.forget_parts(p_session_id, p_addresses);
end;
$$;
comment on function public.forget_session_parts is
    'Remove what is at 1 to 100 addresses ("" is all) and delete every older snapshot that shows something '
    'there, labelled '
    'ones too. One row: the receipt. Called again it removes and deletes nothing more. Owner only. Raises '
    'session_not_found, forbidden, invalid_argument, invalid_address, overlapping_addresses, '
    'address_below_part, list_gap.';
revoke execute on function public.forget_session_parts from public, anon, authenticated, service_role;
grant execute on function public.forget_session_parts to authenticated, service_role;
