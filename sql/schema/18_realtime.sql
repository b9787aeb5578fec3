-- Realtime: whoever may read a session can hear of its snapshots as they are made, where Supabase Realtime is
-- there. The database sends {session, number} to the private topic asyouwere:<session id>, event snapshot.
-- Nothing of the content
-- travels: clients pull by number, and those who poll miss nothing but the hurry.
-- Where there is no Realtime there is no trigger, so it costs nothing; enable_realtime() can be called again
-- later.
-- Breaks running code: no.

create function asyouwere.may_listen(p_topic text) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: as role_of(). Null and foreign topics end here, before the cast.
    if p_topic is null or p_topic !~ '^asyouwere:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
        return false;
    end if;
    return coalesce((
        select asyouwere.role_of(s.id, s.user_id, s.visibility) is not null
        from public.free_agent_sessions s
        where s.id = substr(p_topic, length('asyouwere:') + 1)::uuid), false);
end;
$$;
comment on function asyouwere.may_listen is
    'Whether the caller may read the session that the topic asyouwere:<id> is about.';
revoke execute on function asyouwere.may_listen from public;
grant execute on function asyouwere.may_listen to anon, authenticated, service_role;

create function asyouwere.announce_snapshots() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '250ms'
as $$
begin
    -- Definer: the owner sends, nobody else may. One message a session, however many numbers an import
    -- writes.
    perform realtime.send(
        jsonb_build_object('session', m.session_id, 'number', m.number),
        'snapshot', 'asyouwere:' || m.session_id, true)
    from (select n.session_id, max(n.number) as number from made n group by n.session_id) m;
    return null;
exception when others then
    -- realtime.send() keeps most failures to itself; this is for the rest, such as a lock that doesn't come
    -- free or a Realtime that was taken away. Never is a save lost for it.
    raise warning 'asyouwere: snapshot saved, but realtime.send() failed (SQLSTATE %)', sqlstate;
    return null;
end;
$$;
comment on function asyouwere.announce_snapshots is
    'Tells listeners the number of a new snapshot; never fails a save.';
revoke execute on function asyouwere.announce_snapshots from public;

create function asyouwere.disable_realtime() returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    drop trigger if exists announce_snapshots on public.session_snapshots;
    drop trigger if exists announce_turn on public.session_turns;
    drop trigger if exists announce_chunks on asyouwere.turn_chunks;
    if to_regclass('realtime.messages') is not null then
        drop policy if exists "Whoever reads a session hears of its snapshots" on realtime.messages;
        drop policy if exists "Only the database speaks on asyouwere's topics" on realtime.messages;
    end if;
    return 'off';
end;
$$;
comment on function asyouwere.disable_realtime is 'Stops sending; for the owner of the database.';
revoke execute on function asyouwere.disable_realtime from public;

create function asyouwere.enable_realtime() returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regprocedure('realtime.send(jsonb, text, text, boolean)') is null
        or to_regprocedure('realtime.topic()') is null or to_regclass('realtime.messages') is null
    then
        return 'off: this database has no Supabase Realtime';
    end if;
    perform asyouwere.disable_realtime();
    create policy "Whoever reads a session hears of its snapshots"
        on realtime.messages for select to anon, authenticated
        -- not presence. Realtime asks with a row of the topic that somebody joins.
        using (extension = 'broadcast' and topic = (select realtime.topic()) and asyouwere.may_listen(topic));
    -- Restrictive: an app's own policy that lets everybody hear or say everything does not reach these
    -- topics.
    create policy "Only the database speaks on asyouwere's topics"
        on realtime.messages as restrictive for all to anon, authenticated
        using (topic not like 'asyouwere:%' or asyouwere.may_listen(topic))
        with check (topic not like 'asyouwere:%'
            and coalesce((select realtime.topic()) not like 'asyouwere:%', true));
    create trigger announce_snapshots after insert on public.session_snapshots
        referencing new table as made
        for each statement execute function asyouwere.announce_snapshots();
    create trigger announce_turn after insert or update of status, stop_requested_at on public.session_turns
        for each row execute function asyouwere.announce_turn();
    create trigger announce_chunks after insert on asyouwere.turn_chunks
        for each row execute function asyouwere.announce_chunks();
    return 'on';
exception when insufficient_privilege then
    -- all of the above is undone: without policies nobody could listen
    return 'off: this role may not create policies on realtime.messages';
end;
$$;
comment on function asyouwere.enable_realtime is
    'Sends from now on, if this database has Supabase Realtime; answers "on", or "off" and why. May be '
    'called again at any time; for the owner of the database.';
revoke execute on function asyouwere.enable_realtime from public;
