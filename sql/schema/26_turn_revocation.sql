-- Who may not save into a session any more keeps nobody out of it: the lease of a turn that such a person has
-- begun ends at once, however long it was. Whoever looks next settles it, as any whose lease ran out.
-- The triggers come before the row changes, so that they lock turns while no bucket is held: see the order of
-- locks in 02_sessions.sql.
-- Breaks running code: no.

create function asyouwere.revoke_turns_of_member() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: nobody writes turns but the functions
    if tg_op = 'UPDATE' and new.role = 'editor' then
        return new;
    end if;
    update public.session_turns t set lease_until = clock_timestamp()
    where t.session_id = old.session_id and t.status = 'running' and t.started_by = old.user_id
        and t.lease_until > clock_timestamp();
    return case tg_op when 'DELETE' then old else new end;
end;
$$;
comment on function asyouwere.revoke_turns_of_member is
    'When an editor is removed, leaves, or becomes a viewer.';
revoke execute on function asyouwere.revoke_turns_of_member from public;
create trigger revoke_turns before delete or update of role on public.session_members
    for each row when (old.role = 'editor' and old.accepted_at is not null)
    execute function asyouwere.revoke_turns_of_member();

create function asyouwere.revoke_turns_of_session() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: as above. Made private: all but the owner's; handed over: the owner's before.
    update public.session_turns t set lease_until = clock_timestamp()
    where t.session_id = new.id and t.status = 'running' and t.lease_until > clock_timestamp()
        and (t.started_by = old.user_id and old.user_id <> new.user_id
            or t.started_by <> new.user_id and new.visibility = 'private');
    return new;
end;
$$;
comment on function asyouwere.revoke_turns_of_session is 'When a session is made private, or handed over.';
revoke execute on function asyouwere.revoke_turns_of_session from public;
create trigger revoke_turns before update of visibility, user_id on public.free_agent_sessions
    for each row
    when (old.user_id <> new.user_id or new.visibility = 'private' and old.visibility <> 'private')
    execute function asyouwere.revoke_turns_of_session();

create function asyouwere.revoke_turns_of_person() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: as above. The name goes with it, which the memberships do later, step by step.
    update public.session_turns t set lease_until = clock_timestamp(), started_by = null
    where t.started_by = new.user_id and t.ended_at is null and t.lease_until > clock_timestamp();
    return null;
end;
$$;
comment on function asyouwere.revoke_turns_of_person is
    'When a user was deleted, or a person''s data is to go.';
revoke execute on function asyouwere.revoke_turns_of_person from public;
create trigger revoke_turns after insert or update of requested_at on asyouwere.erasures
    for each row execute function asyouwere.revoke_turns_of_person();
