-- Accounts: all that is a person's is deleted in steps, each short, whoever asks for it.
-- One step holds the locks of the person's own sessions only; of other people's sessions it touches the rows
-- that name the person, and leaves those out that somebody is busy with. Whoever calls goes on until done is
-- true.
-- Breaks running code: no.

create type asyouwere.erased as (sessions int, snapshots int, parts int, turns int, memberships int, done boolean);
comment on type asyouwere.erased is
    'What a step of deleting a person''s data took. done: there is nothing left.';

create function asyouwere.erase_rows(p_ids uuid[], p_numbers bigint[]) returns asyouwere.erased
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_large uuid;
    v_erased asyouwere.erased := (0, 0, 0, 0, 0, false);
begin
    -- Thousands of snapshots or turns go before their session does, some with each step: else one statement would
    -- have to take them all, and a time limit would undo it for ever.
    select c.id into v_large from unnest(p_ids) c (id) where asyouwere.is_large_session(c.id) limit 1;
    if found then
        delete from public.session_turns t where t.ctid = any (array(
            select q.ctid from public.session_turns q where q.session_id = v_large limit 2000));
        get diagnostics v_erased.turns = row_count;
        delete from public.session_snapshots n where n.ctid = any (array(
            select q.ctid from public.session_snapshots q where q.session_id = v_large
            order by q.number limit 2000));
        get diagnostics v_erased.snapshots = row_count;
        return v_erased;
    end if;
    v_erased.sessions := cardinality(p_ids);
    v_erased.snapshots := (select count(*) from public.session_snapshots n where n.session_id = any (p_ids));
    v_erased.parts := (select count(*) from asyouwere.parts p where p.session = any (p_numbers));
    v_erased.turns := (select count(*) from public.session_turns t where t.session_id = any (p_ids));
    delete from public.free_agent_sessions s where s.id = any (p_ids);
    return v_erased;
end;
$$;
comment on function asyouwere.erase_rows is
    'Deletes sessions and counts what went, or some of what is in a large one of them.';
revoke execute on function asyouwere.erase_rows from public;

create function asyouwere.erase_sessions(p_user_id uuid, p_until timestamptz) returns asyouwere.erased
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_ids uuid[];
    v_numbers bigint[];
    v_at_once int := 20;
    v_step asyouwere.erased;
    v_erased asyouwere.erased := (0, 0, 0, 0, 0, false);
begin
    loop
        -- What failed is passed by for an hour, so that it does not keep the rest. What belongs to others goes
        -- before them: a cascade would have to take all of it.
        select array_agg(s.id), array_agg(s.internal_id) into v_ids, v_numbers
        from (
            select s.id, s.internal_id from public.free_agent_sessions s
            where s.user_id = p_user_id and not exists (
                select from asyouwere.cleanup_failures f
                where f.session = s.internal_id and f.kind = 'accounts'
                    and f.last_failed_at > now() - interval '1 hour')
                and not exists (select from public.free_agent_sessions c where c.parent_id = s.id)
            order by s.id desc limit v_at_once for update of s -- the younger first: they belong to the older
        ) s;
        if v_ids is null then
            v_erased.done := true;
            return v_erased;
        end if;
        begin
            v_step := asyouwere.erase_rows(v_ids, v_numbers);
            v_erased.sessions := v_erased.sessions + v_step.sessions;
            v_erased.snapshots := v_erased.snapshots + v_step.snapshots;
            v_erased.parts := v_erased.parts + v_step.parts;
            v_erased.turns := v_erased.turns + v_step.turns;
        exception when others then -- a key of the app's own that refers to it, a trigger
            if v_at_once = 1 then
                perform asyouwere.note_failure(v_numbers[1], 'accounts', sqlstate);
            end if;
            v_at_once := 1; -- which of them was it?
        end;
        if clock_timestamp() > p_until then
            return v_erased;
        end if;
    end loop;
end;
$$;
comment on function asyouwere.erase_sessions is
    'Deletes a person''s sessions, 20 at a time, until a moment or nothing is left but what failed within the hour.';
revoke execute on function asyouwere.erase_sessions from public;

create function asyouwere.erase_traces(p_user_id uuid, p_until timestamptz) returns asyouwere.erased
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_erased asyouwere.erased := (0, 0, 0, 0, 0, false);
    v_turns int;
    v_changed int;
    v_rows int;
begin
    loop
        -- Before the memberships, whose end revokes a running turn: a row that one transaction changes twice
        -- has its key checked again, which waits for the session. If the turn is busy, so is the membership.
        update public.session_turns t
        set started_by = null, lease_until = case t.status when 'running' then now() else t.lease_until end
        where t.ctid = any (array(
            select o.ctid from public.session_turns o where o.started_by = p_user_id
            limit 1000 for no key update skip locked));
        get diagnostics v_turns = row_count;
        delete from public.session_members m
        where m.ctid = any (array(
            select o.ctid from public.session_members o where o.user_id = p_user_id
                and o.accepted_at is not null
                and not exists (select from public.session_turns t
                    where t.session_id = o.session_id and t.status = 'running' and t.started_by = p_user_id)
            limit 1000 for update skip locked));
        get diagnostics v_changed = row_count;
        delete from public.session_members m
        where m.ctid = any (array(
            select o.ctid from public.session_members o where o.user_id = p_user_id and o.accepted_at is null
            limit 1000 for update skip locked));
        get diagnostics v_rows = row_count;
        v_changed := v_changed + v_rows;
        v_erased.memberships := v_erased.memberships + v_changed;
        -- in other people's sessions the words stay, the name goes
        update public.session_snapshots n set created_by = null
        where n.ctid = any (array(
            select o.ctid from public.session_snapshots o where o.created_by = p_user_id
            limit 1000 for no key update skip locked));
        get diagnostics v_rows = row_count;
        v_changed := v_changed + v_rows;
        -- the ids stay used, by nobody
        update asyouwere.used_ids u set user_id = null
        where u.id = any (array(select o.id from asyouwere.used_ids o where o.user_id = p_user_id
            limit 1000));
        get diagnostics v_rows = row_count;
        v_changed := v_changed + v_rows;
        delete from asyouwere.transfers t
        where t.session_id = any (array(
            select o.session_id from asyouwere.transfers o where o.to_user = p_user_id
            limit 1000 for update skip locked));
        get diagnostics v_rows = row_count;
        v_changed := v_changed + v_rows;
        delete from public.user_usage u
        where u.ctid = any (array(
            select o.ctid from public.user_usage o where o.user_id = p_user_id
            limit 1000 for update skip locked));
        get diagnostics v_rows = row_count;
        exit when v_turns + v_changed + v_rows = 0 or clock_timestamp() > p_until;
    end loop;
    delete from asyouwere.offers o where o.user_id = p_user_id;
    delete from asyouwere.user_budgets b where b.user_id = p_user_id;
    v_erased.done := not exists (select from public.session_members m where m.user_id = p_user_id
        and m.accepted_at is not null)
        and not exists (select from public.session_members m where m.user_id = p_user_id
            and m.accepted_at is null)
        and not exists (select from public.session_snapshots n where n.created_by = p_user_id)
        and not exists (select from public.session_turns t where t.started_by = p_user_id)
        and not exists (select from asyouwere.used_ids u where u.user_id = p_user_id)
        and not exists (select from asyouwere.transfers t where t.to_user = p_user_id)
        and not exists (select from public.user_usage u where u.user_id = p_user_id);
    return v_erased;
end;
$$;
comment on function asyouwere.erase_traces is
    'Takes a person out of other people''s sessions, a thousand rows at a time, until a moment or the end.';
revoke execute on function asyouwere.erase_traces from public;

create function asyouwere.erase(p_user_id uuid) returns asyouwere.erased
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_until timestamptz := clock_timestamp() + interval '100 ms';
    v_erased asyouwere.erased;
    v_traces asyouwere.erased;
begin
    perform asyouwere.lock_owner(p_user_id);
    v_erased := asyouwere.erase_sessions(p_user_id, v_until);
    if v_erased.done then
        v_traces := asyouwere.erase_traces(p_user_id, v_until);
        v_erased.memberships := v_traces.memberships;
        v_erased.done := v_traces.done;
        if exists (select from public.free_agent_sessions s where s.user_id = p_user_id) then
            -- passed by; once nothing else is left, whoever calls until done would call for ever
            v_erased.done := case when v_traces.done and v_erased.sessions = 0 and v_erased.snapshots = 0
                and v_erased.turns = 0 and v_erased.memberships = 0 then null else false end;
        end if;
    end if;
    return v_erased;
end;
$$;
comment on function asyouwere.erase is
    'A step of some 100 ms: first the person''s own sessions, then what names the person elsewhere. done '
    'is null when nothing is left but sessions that can''t be deleted.';
revoke execute on function asyouwere.erase from public;

-- By oneself
-- ---------------------------------------------------------------------------------------------------
create function asyouwere.refuse_remains(p_erased asyouwere.erased) returns asyouwere.erased
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if p_erased.done is null then
        perform asyouwere.fail('internal',
            'A session can''t be deleted: something of the app''s own refers to it, or refuses.');
    end if;
    return p_erased;
end;
$$;
comment on function asyouwere.refuse_remains is
    'Raises internal for a step after which nothing is left but what can''t be deleted.';
revoke execute on function asyouwere.refuse_remains from public;

create function asyouwere.forget_caller() returns asyouwere.erased
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_erased asyouwere.erased;
begin
    -- Definer: counts parts before they go. The bucket stays until it is full, as a new one would be.
    if auth.uid() is null then
        perform asyouwere.fail('not_signed_in', 'Sign in as the person whose data is to go.');
    end if;
    v_erased := asyouwere.refuse_remains(asyouwere.erase(auth.uid()));
    if v_erased.done then
        perform asyouwere.forget_bucket(auth.uid());
    end if;
    return v_erased;
end;
$$;
comment on function asyouwere.forget_caller is
    'Deletes a step''s worth of all that belongs to the caller and counts it.';
revoke execute on function asyouwere.forget_caller from public;
grant execute on function asyouwere.forget_caller to authenticated;

create function public.delete_my_data()
returns table (sessions int, snapshots int, parts int, turns int, memberships int, done boolean)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.forget_caller();
end;
$$;
comment on function public.delete_my_data is
    'Delete all sessions of the caller and the caller''s memberships, for good. One row with the counts: '
    'the receipt. Call until done: a step takes some 100 ms.';
revoke execute on function public.delete_my_data from public, anon, authenticated, service_role;
grant execute on function public.delete_my_data to authenticated;

-- By the service
-- -----------------------------------------------------------------------------------------------
create function asyouwere.erase_account(p_user_id uuid) returns asyouwere.erased
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_erased asyouwere.erased;
begin
    if p_user_id is null then
        perform asyouwere.fail('invalid_argument', 'Say whose data is to go.');
    end if;
    insert into asyouwere.erasures (user_id) values (p_user_id) on conflict (user_id) do nothing;
    v_erased := asyouwere.erase(p_user_id);
    if v_erased.done then
        delete from asyouwere.rate_buckets b where b.user_id = p_user_id;
        update asyouwere.erasures e set finished_at = now() where e.user_id = p_user_id and e.account_gone;
        delete from asyouwere.erasures e where e.user_id = p_user_id and not e.account_gone;
    end if;
    return v_erased;
end;
$$;
comment on function asyouwere.erase_account is
    'A step of deleting a person''s data, marked as such from the first one on.';
revoke execute on function asyouwere.erase_account from public;

create function asyouwere.erase_person(p_user_id uuid) returns asyouwere.erased
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
    -- definer: as forget_caller()
    select asyouwere.refuse_remains(asyouwere.erase_account(p_user_id))
$$;
comment on function asyouwere.erase_person is 'The same, telling when nothing is left but what can''t be deleted.';
revoke execute on function asyouwere.erase_person from public;
grant execute on function asyouwere.erase_person to service_role;

create function public.delete_user_data(p_user_id uuid)
returns table (sessions int, snapshots int, parts int, turns int, memberships int, done boolean)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.erase_person(p_user_id);
end;
$$;
comment on function public.delete_user_data is
    'Delete all sessions and memberships of a person, as delete_my_data() does, and the rest that is known '
    'of the person. From the first call on nobody else reads the sessions. Call until done: a step takes '
    'some 100 ms. Service only.';
revoke execute on function public.delete_user_data from public, anon, authenticated, service_role;
grant execute on function public.delete_user_data to service_role;

-- By the deletion of the user
-- ------------------------------------------------------------------------------------ No foreign key with a
-- cascade: that would delete ten thousand sessions in one statement, or fail. The user goes at once and
-- leaves a mark, which hides the sessions; the clean-up deletes them.
create function asyouwere.mark_deleted_user() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: whoever deletes users need not know this schema
    insert into asyouwere.erasures (user_id, account_gone) values (old.id, true)
    on conflict (user_id) do update set account_gone = true, requested_at = now(), finished_at = null;
    return null;
end;
$$;
comment on function asyouwere.mark_deleted_user is
    'When a user is deleted, the sessions are hidden and will be deleted.';
revoke execute on function asyouwere.mark_deleted_user from public;

create function asyouwere.follow_users() returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regclass('auth.users') is null then
        return 'off: this database has no auth.users';
    end if;
    drop trigger if exists asyouwere_user_deleted on auth.users;
    create trigger asyouwere_user_deleted after delete on auth.users
        for each row execute function asyouwere.mark_deleted_user();
    return 'on';
exception when insufficient_privilege then
    return 'off: this role may not create triggers on auth.users; call delete_user_data() for each user deleted';
end;
$$;
comment on function asyouwere.follow_users is
    'From now on the data of users who are deleted from auth.users goes too; answers "on", or "off" and '
    'why. May be called again at any time; for the owner of the database.';
revoke execute on function asyouwere.follow_users from public;

select asyouwere.follow_users();

create function asyouwere.erase_next() returns asyouwere.erased
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_user uuid;
    v_erased asyouwere.erased := (0, 0, 0, 0, 0, true);
begin
    -- definer: sessions of all people
    select e.user_id into v_user from asyouwere.erasures e
    where e.finished_at is null and coalesce(e.failed_at, '-infinity') < now() - interval '1 hour'
    order by e.requested_at limit 1
    for no key update skip locked;
    if found then
        begin
            v_erased := asyouwere.erase_account(v_user);
            update asyouwere.erasures e set failed_at = null, sql_state = null
            where e.user_id = v_user and e.failed_at is not null;
            if v_erased.done is null then
                update asyouwere.erasures e set failed_at = clock_timestamp(), sql_state = coalesce((
                    select f.sql_state from public.free_agent_sessions s
                    join asyouwere.cleanup_failures f on f.session = s.internal_id and f.kind = 'accounts'
                    where s.user_id = v_user limit 1), '55000')
                where e.user_id = v_user;
            end if;
        exception when query_canceled or others then -- a time limit as well: somebody may hold a lock for long
            update asyouwere.erasures e set failed_at = clock_timestamp(), sql_state = sqlstate
            where e.user_id = v_user;
        end;
    end if;
    delete from asyouwere.erasures e where e.finished_at is not null
        and e.requested_at < now() - interval '7 days';
    delete from asyouwere.offers o where o.expires_at < now();
    v_erased.done := not exists (
        select from asyouwere.erasures e
        where e.finished_at is null and coalesce(e.failed_at, '-infinity') < now() - interval '1 hour');
    return v_erased;
end;
$$;
comment on function asyouwere.erase_next is
    'A step for the person who has waited longest; one whose step fails is passed by for an hour.';
revoke execute on function asyouwere.erase_next from public;
grant execute on function asyouwere.erase_next to service_role;

create function public.erase_deleted_users()
returns table (sessions int, snapshots int, parts int, turns int, memberships int, done boolean)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.erase_next();
end;
$$;
comment on function public.erase_deleted_users is
    'A step of deleting what users left behind who are no more, of some 100 ms; part of the clean-up. Call '
    'until done. Service only.';
revoke execute on function public.erase_deleted_users from public, anon, authenticated, service_role;
grant execute on function public.erase_deleted_users to service_role;
