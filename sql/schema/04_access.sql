-- Who may do what. Decided here and nowhere else: asyouwere.role_of() for the functions, the policies for the
-- tables. tests/sql/test_access.py holds the two against each other.
-- Breaks running code: no.

create function asyouwere.role_of(p_session_id uuid, p_owner uuid, p_visibility text) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_caller uuid := auth.uid();
    v_role text;
begin
    -- definer: must see the member list, which callers see only in part.
    -- The role setting, not the claims: only who may SET ROLE can be the service.
    if p_owner = v_caller then
        return 'owner';
    elsif current_setting('role') = 'service_role' then
        -- what was set aside is deleted, for the service too
        return case when not exists (
            select from asyouwere.erasures e where e.user_id = p_owner and e.session_id is not null)
            then 'owner' end;
    end if;
    if p_visibility = 'private' then
        return null;
    end if;
    if asyouwere.is_erased(p_owner) then
        return null;
    end if;
    select m.role into v_role from public.session_members m
    where m.session_id = p_session_id and m.user_id = v_caller and m.accepted_at is not null
        and not asyouwere.is_erased(v_caller); -- whose token may be good for an hour yet
    return coalesce(v_role, case when p_visibility = 'public' then 'viewer' end);
end;
$$;
comment on function asyouwere.role_of is
    'What the caller is to a session: owner, editor, viewer, or null for a stranger.';
revoke execute on function asyouwere.role_of from public;
grant execute on function asyouwere.role_of to anon, authenticated, service_role;

create function asyouwere.session_ids_shared_with_me() returns setof uuid
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- definer: a policy on sessions that reads members, whose policy reads sessions, would never end
    select session_id from public.session_members where user_id = auth.uid() and accepted_at is not null
        and not asyouwere.is_erased(auth.uid())
$$;
comment on function asyouwere.session_ids_shared_with_me is
    'Sessions that the caller has accepted to be a member of.';
revoke execute on function asyouwere.session_ids_shared_with_me from public;
grant execute on function asyouwere.session_ids_shared_with_me to anon, authenticated, service_role;

create function asyouwere.sessions_shared_with_me() returns setof public.free_agent_sessions
language sql stable security definer rows 100 set search_path = pg_catalog, pg_temp
as $$
    -- definer: the policy would search a thousand ids for each of a thousand rows
    select s.* from public.session_members m join public.free_agent_sessions s on s.id = m.session_id
    where m.user_id = auth.uid() and m.accepted_at is not null and s.visibility <> 'private'
        and not exists (select from asyouwere.erasures e where e.user_id in (s.user_id, m.user_id))
$$;
comment on function asyouwere.sessions_shared_with_me is
    'The sessions that the caller reads as a member.';
revoke execute on function asyouwere.sessions_shared_with_me from public;
grant execute on function asyouwere.sessions_shared_with_me to authenticated, service_role;

create function asyouwere.owns_session(p_session_id uuid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- definer: for the same reason
    select exists (select from public.free_agent_sessions where id = p_session_id and user_id = auth.uid())
$$;
comment on function asyouwere.owns_session is 'Whether the caller owns the session.';
revoke execute on function asyouwere.owns_session from public;
grant execute on function asyouwere.owns_session to anon, authenticated, service_role;

create function asyouwere.is_public(p_session bigint) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- definer: the role anon does not read internal_id
    select exists (
        select from public.free_agent_sessions s
        where s.internal_id = p_session and s.visibility = 'public' and not asyouwere.is_erased(s.user_id))
$$;
comment on function asyouwere.is_public is 'Whether everybody reads the parts of a session.';
revoke execute on function asyouwere.is_public from public;
grant execute on function asyouwere.is_public to anon;

create function asyouwere.internal_id_of(p_session_id uuid) returns bigint
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- definer: for the same reason. Who has taken none of the API's roles is the database's owner.
    select s.internal_id from public.free_agent_sessions s
    where s.id = p_session_id
        and (current_setting('role') = 'none' or asyouwere.role_of(s.id, s.user_id, s.visibility) is not null)
$$;
comment on function asyouwere.internal_id_of is
    'By what the parts of a session are found, if the caller may read it.';
revoke execute on function asyouwere.internal_id_of from public;
grant execute on function asyouwere.internal_id_of to anon, authenticated, service_role;

create function asyouwere.is_insider(p_session_id uuid, p_owner uuid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- definer: must see the member list
    select coalesce(p_owner = auth.uid(), false) or current_setting('role') = 'service_role' or exists (
        select from public.session_members m
        where m.session_id = p_session_id and m.user_id = auth.uid() and m.accepted_at is not null
            and not asyouwere.is_erased(m.user_id))
$$;
comment on function asyouwere.is_insider is
    'Whether the caller is the owner or a member, and no mere reader of a public session.';
revoke execute on function asyouwere.is_insider from public;

-- Sessions -----------------------------------------------------------------------------------------------
alter table public.free_agent_sessions enable row level security;
revoke all on public.free_agent_sessions from anon, authenticated, service_role;
grant select on public.free_agent_sessions to authenticated, service_role;
-- Nobody signed in reads public sessions only: not the owner's key, nor where the agent lives, nor our own
-- books.
grant select (id, user_id, name, model, kind, status, visibility, metadata, expires_after, archived_at,
    created_at,
    updated_at, last_activity_at, expired_at, latest_number, size_bytes, message_count, activity_bin)
    on public.free_agent_sessions to anon;
grant delete on public.free_agent_sessions to authenticated, service_role;
-- Column by column: numbers, sizes and counts can't be forged.
grant insert (id, user_id, name, model, kind, status, visibility, key, upstream, metadata, expires_after,
    parent_id)
    on public.free_agent_sessions to authenticated, service_role;
-- id, user_id, kind and key, which never change: PostgREST's upserts name whatever was sent.
grant update (id, user_id, name, model, kind, status, visibility, key, upstream, metadata, expires_after,
    archived_at)
    on public.free_agent_sessions to authenticated, service_role;

create policy "Owners, members and, if public, everyone read a session"
    on public.free_agent_sessions for select to anon, authenticated
    using (
        user_id = (select auth.uid())
        or (visibility = 'public'
                or visibility = 'shared' and id = any (array(select asyouwere.session_ids_shared_with_me())))
            and not asyouwere.is_erased(user_id)
    );
create policy "People create sessions of their own"
    on public.free_agent_sessions for insert to authenticated
    with check (user_id = (select auth.uid()));
create policy "Owners change their sessions"
    on public.free_agent_sessions for update to authenticated
    using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy "Owners delete their sessions"
    on public.free_agent_sessions for delete to authenticated
    using (user_id = (select auth.uid()));

-- Members ------------------------------------------------------------------------------------------------
alter table public.session_members enable row level security;
revoke all on public.session_members from anon, authenticated, service_role;
grant select, delete on public.session_members to authenticated, service_role;
grant insert (session_id, user_id, role), update (role) on public.session_members to authenticated,
    service_role;

create policy "Owners see all members, members see themselves"
    on public.session_members for select to authenticated
    using (
        -- not of a session that was made private again; an invitation is seen in list_invitations()
        user_id = (select auth.uid())
            and (select true from public.free_agent_sessions s where s.id = session_members.session_id)
        or asyouwere.owns_session(session_id)
    );
create policy "Owners add members"
    on public.session_members for insert to authenticated with check (asyouwere.owns_session(session_id));
create policy "Owners change a member's role"
    on public.session_members for update to authenticated
    using (asyouwere.owns_session(session_id)) with check (asyouwere.owns_session(session_id));
create policy "Owners remove members, members leave"
    on public.session_members for delete to authenticated
    using (user_id = (select auth.uid()) or asyouwere.owns_session(session_id));

-- Snapshots and parts: read by whoever reads the session, written by the functions only --------------------
alter table public.session_snapshots enable row level security;
revoke all on public.session_snapshots from anon, authenticated, service_role;
grant select on public.session_snapshots to authenticated, service_role;
grant select (session_id, created_at, size_bytes, number, changed_parts, message_count, label) -- not who saved it
    on public.session_snapshots to anon;
create policy "Whoever reads a session reads its snapshots"
    on public.session_snapshots for select to anon, authenticated
    -- a scalar sub-select, not exists() or in(): one index probe a row, never a hash of all readable sessions
    using ((select true from public.free_agent_sessions s where s.id = session_snapshots.session_id));

alter table asyouwere.parts enable row level security;
grant select on asyouwere.parts, asyouwere.live_parts to anon, authenticated, service_role;
create policy "Whoever reads a session reads its parts"
    on asyouwere.parts for select to authenticated
    using ((select true from public.free_agent_sessions s where s.internal_id = parts.session));
create policy "Everybody reads the parts of public sessions"
    on asyouwere.parts for select to anon using (asyouwere.is_public(session));

alter table asyouwere.save_keys enable row level security; -- no policy: the functions only

-- The door of every function that reads or writes a session ------------------------------------------------
create function asyouwere.refuse_access(p_session_id uuid, p_need text) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions;
    v_role text;
begin
    select * into v_session from public.free_agent_sessions s where s.id = p_session_id;
    if found then
        v_role := asyouwere.role_of(v_session.id, v_session.user_id, v_session.visibility);
    else
        -- Of somebody else's session the role has been asked for twice by now, of none never: take as long
        -- over it, or a thousand tries would tell the two apart.
        perform asyouwere.role_of(p_session_id, p_session_id, 'private');
        perform asyouwere.role_of(p_session_id, p_session_id, 'private');
    end if;
    -- Whoever may read it already knows that it exists; to all others no session, a deleted one and
    -- somebody else's are the same.
    if v_role is not null then
        perform asyouwere.fail('forbidden',
            case p_need when 'owner' then 'Only the owner may do this.'
            else 'You may read this session, not change it. Ask its owner to make you an editor.' end);
    end if;
    perform asyouwere.fail('session_not_found');
end;
$$;
comment on function asyouwere.refuse_access is
    'Raises forbidden for readers, session_not_found for strangers.';
revoke execute on function asyouwere.refuse_access from public;

create function asyouwere.session_to_read(p_session_id uuid) returns public.free_agent_sessions
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions;
begin
    -- definer: access is checked here once instead of by the policies for every part
    select * into v_session from public.free_agent_sessions s
    where s.id = p_session_id and asyouwere.role_of(s.id, s.user_id, s.visibility) is not null;
    if not found then
        perform asyouwere.refuse_access(p_session_id, 'viewer');
    end if;
    return v_session;
end;
$$;
comment on function asyouwere.session_to_read is
    'The session''s row if the caller may read it. Raises session_not_found.';
revoke execute on function asyouwere.session_to_read from public;

create function asyouwere.session_to_write(p_session_id uuid, p_need text default 'editor')
returns public.free_agent_sessions
language plpgsql volatile
as $$
declare
    v_session public.free_agent_sessions;
begin
    -- Run by definers only; no SET clause, see 09_saving.sql. A statement of its own: what runs after waiting
    -- for this lock sees what the one before committed. The role is part of the condition, so nobody locks a
    -- session that is not theirs to write.
    select * into v_session from public.free_agent_sessions s
    where s.id = p_session_id
        and asyouwere.role_of(s.id, s.user_id, s.visibility) = any (
            case p_need when 'owner' then array['owner'] else array['owner', 'editor'] end)
    for no key update;
    if not found then
        perform asyouwere.refuse_access(p_session_id, p_need);
    end if;
    return v_session;
end;
$$;
comment on function asyouwere.session_to_write is
    'The session''s row, locked till the end of the transaction, if the caller may save into it (editor) or'
    ' owns it. Raises session_not_found, forbidden.';
revoke execute on function asyouwere.session_to_write from public;
