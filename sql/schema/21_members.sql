-- Members: the owner invites, the invited person accepts, and leaves whenever she likes.
-- Until she has accepted she is a stranger to the session, and it is in none of her lists but that of the
-- invitations.
-- Breaks running code: no.

create function asyouwere.refuse_invitation(p_session_id uuid, p_owner uuid, p_user_id uuid) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings asyouwere.settings;
    v_quota text;
    v_limit int;
begin
    -- definer: the settings and other people's invitations. No count goes further than its limit.
    select * into v_settings from asyouwere.settings;
    select c.quota, c.most into v_quota, v_limit
    from (
        select 'members' as quota, v_settings.max_members_per_session as most, (
            select count(*) from (
                select from public.session_members m where m.session_id = p_session_id
                limit v_settings.max_members_per_session) n) as used
        union all
        select 'invitations_sent', v_settings.max_invitations_sent, (
            select count(*) from (
                (select from public.session_members m where m.invited_by = p_owner and m.accepted_at is null
                limit v_settings.max_invitations_sent)
                union all
                -- an offered session is an invitation as well
                (select from asyouwere.transfers t where t.from_user = p_owner
                limit v_settings.max_invitations_sent)) n)
        union all
        select 'invitations_from_one', v_settings.max_invitations_from_one, (
            select count(*) from (
                (select from public.session_members m
                where m.invited_by = p_owner and m.user_id = p_user_id and m.accepted_at is null
                limit v_settings.max_invitations_from_one)
                union all
                (select from asyouwere.transfers t where t.from_user = p_owner and t.to_user = p_user_id
                limit v_settings.max_invitations_from_one)) n)
        union all
        select 'invitations_received', v_settings.max_invitations_received, (
            select count(*) from (
                (select from public.session_members m where m.user_id = p_user_id and m.accepted_at is null
                limit v_settings.max_invitations_received)
                union all
                (select from asyouwere.transfers t where t.to_user = p_user_id
                limit v_settings.max_invitations_received)) n)
    ) c
    where c.used >= c.most
    limit 1;
    if found then
        perform asyouwere.fail('quota_exceeded',
            case v_quota when 'members' then 'This session has as many members as allowed. Remove some first.'
            when 'invitations_received' then 'This person has as many open invitations as allowed.'
            else 'Too many open invitations. Wait until some are accepted, or take some back.' end,
            format('{"quota": "%s", "used": %s, "limit": %s}', v_quota, v_limit, v_limit));
    end if;
end;
$$;
comment on function asyouwere.refuse_invitation is
    'Raises quota_exceeded if this invitation would be one too many.';
revoke execute on function asyouwere.refuse_invitation from public;

create function asyouwere.refuse_unknown_person(p_owner uuid, p_user_id uuid) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Definer: auth.users is not for callers. Whoever may invite learns by this whether an id is a user's, and
    -- nothing else: no name, no address. Ids are 122 random bits, which nobody finds by trying.
    if not asyouwere.is_limited() and current_setting('role') <> 'service_role' then
        return; -- an administrator, or a dump that is read in: perhaps before the users are
    elsif not exists (
        select from pg_attribute a
        where a.attrelid = to_regclass('auth.users') and a.attname = 'id' and a.atttypid = 'uuid'::regtype
            and has_column_privilege(a.attrelid, a.attnum, 'select')
    ) then
        return; -- without such a table, or the right to read it, nobody is known
    end if;
    -- Where the owner is not in it either, users are kept elsewhere (tokens of another issuer), or row level
    -- security hides them.
    if exists (select from auth.users u where u.id = p_owner)
        and not exists (select from auth.users u where u.id = p_user_id)
    then
        perform asyouwere.fail('user_not_found');
    end if;
end;
$$;
comment on function asyouwere.refuse_unknown_person is
    'Raises user_not_found if the database knows its users, the owner among them, and this is the id of none.';
revoke execute on function asyouwere.refuse_unknown_person from public;

create function asyouwere.check_member() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_owner uuid;
begin
    -- definer: as refuse_invitation(). Whichever way an invitation comes, as a call or as a row, it comes by
    -- here.
    select s.user_id into v_owner from public.free_agent_sessions s where s.id = new.session_id;
    if asyouwere.is_limited() and v_owner is distinct from auth.uid() then
        perform asyouwere.refuse_access(new.session_id, 'owner');
    elsif new.role is null or new.role not in ('viewer', 'editor') or new.user_id is null
        or new.user_id = v_owner then
        perform asyouwere.fail('invalid_argument',
            'A member is somebody other than the owner, as viewer or editor.');
    end if;
    if tg_op = 'INSERT' then
        new.invited_by := case when new.accepted_at is null then v_owner end; -- given by the database's owner only
        if asyouwere.is_limited() then
            perform asyouwere.refuse_invitation(new.session_id, v_owner, new.user_id);
        end if;
        perform asyouwere.refuse_unknown_person(v_owner, new.user_id);
    end if;
    return new;
end;
$$;
comment on function asyouwere.check_member is 'Makes a new member an invited one; refuses what is too much.';
revoke execute on function asyouwere.check_member from public;

create function asyouwere.charge_member() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    perform asyouwere.charge(); -- after the row: see the order of locks in 02_sessions.sql
    return null;
end;
$$;
comment on function asyouwere.charge_member is 'Charges an invitation, or another role. Raises rate_limited.';
revoke execute on function asyouwere.charge_member from public;

create trigger lock_own_rows before insert or update or delete on public.session_members
    for each statement execute function asyouwere.lock_own_rows();
create trigger check_member before insert or update of role on public.session_members
    for each row execute function asyouwere.check_member();
create trigger charge_member after insert or update of role on public.session_members
    for each row execute function asyouwere.charge_member();

-- The owner's side
-- ---------------------------------------------------------------------------------------------
create function public.list_session_members(p_session_id uuid) returns setof public.session_members
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    perform asyouwere.require_readable(p_session_id);
    return query
    select * from public.session_members m where m.session_id = p_session_id order by m.created_at, m.user_id;
end;
$$;
comment on function public.list_session_members is
    'All members and invited people for the owner, a member''s own row for a member. Raises '
    'session_not_found.';
revoke execute on function public.list_session_members from public, anon, authenticated, service_role;
grant execute on function public.list_session_members to authenticated, service_role;

create function asyouwere.put_member(p_session_id uuid, p_user_id uuid,
    p_role text) returns public.session_members
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_write(p_session_id, 'owner');
    v_member public.session_members;
begin
    -- definer: session_to_write is private
    update public.session_members m set role = p_role
    where m.session_id = v_session.id and m.user_id = p_user_id
    returning * into v_member;
    if not found then
        insert into public.session_members (session_id, user_id, role) values (v_session.id, p_user_id,
            p_role)
        on conflict (session_id, user_id) do update set role = excluded.role
        returning * into v_member;
    end if;
    update public.free_agent_sessions s set visibility = 'shared' where s.id = v_session.id
        and s.visibility = 'private';
    return v_member;
end;
$$;
comment on function asyouwere.put_member is
    'Invites somebody or changes the role; a private session becomes shared.';
revoke execute on function asyouwere.put_member from public;
grant execute on function asyouwere.put_member to authenticated, service_role;

create function public.set_session_member(p_session_id uuid, p_user_id uuid, p_role text)
returns setof public.session_members
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.put_member(p_session_id, p_user_id, p_role);
end;
$$;
comment on function public.set_session_member is
    'Invite somebody to read (viewer) or also save (editor), or change the role of one who is in already. '
    'It takes effect once accepted. Makes a private session shared. Owner only. Raises user_not_found, '
    'quota_exceeded.';
revoke execute on function public.set_session_member from public, anon, authenticated, service_role;
grant execute on function public.set_session_member to authenticated, service_role;

create function asyouwere.remove_member(p_session_id uuid, p_user_id uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Definer: session_to_write is private. Leaving and declining ask for nothing and tell nothing, not even
    -- that there is such a session.
    if p_user_id is distinct from auth.uid() then
        perform asyouwere.session_to_write(p_session_id, 'owner');
    end if;
    delete from public.session_members m where m.session_id = p_session_id and m.user_id = p_user_id;
    if p_user_id = auth.uid() then
        delete from asyouwere.transfers t where t.session_id = p_session_id and t.to_user = p_user_id;
    end if;
end;
$$;
comment on function asyouwere.remove_member is
    'Takes a member or an invitation away, or lets one leave or decline.';
revoke execute on function asyouwere.remove_member from public;
grant execute on function asyouwere.remove_member to authenticated, service_role;

create function public.remove_session_member(p_session_id uuid, p_user_id uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    perform asyouwere.remove_member(p_session_id, p_user_id);
end;
$$;
comment on function public.remove_session_member is
    'Owners remove a member or take an invitation back; with the caller''s own id: leave, or decline, which'
    ' always works. Nothing happens if there is none. Raises session_not_found, forbidden.';
revoke execute on function public.remove_session_member from public, anon, authenticated, service_role;
grant execute on function public.remove_session_member to authenticated, service_role;

-- The invited person's side
-- ------------------------------------------------------------------------------------
create function asyouwere.read_invitations(p_limit int, p_before timestamptz, p_before_id uuid)
returns table (session_id uuid, role text, name text, invited_by uuid, created_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
    v_caller uuid := auth.uid();
    v_before timestamptz := coalesce(p_before, 'infinity');
    v_before_id uuid := coalesce(p_before_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
begin
    -- definer: to see the name of a session that is not yet the caller's to read
    return query
    select i.session_id, i.role, left(s.name, 200), s.user_id, i.created_at
    from (
        select m.session_id, m.role, m.created_at from public.session_members m
        where m.user_id = v_caller and m.accepted_at is null
            and (m.created_at, m.session_id) < (v_before, v_before_id)
        union all
        select t.session_id, 'owner', t.offered_at from asyouwere.transfers t
        where t.to_user = v_caller and (t.offered_at, t.session_id) < (v_before, v_before_id)
    ) i
    join public.free_agent_sessions s on s.id = i.session_id
    where (s.visibility <> 'private' or i.role = 'owner') and not asyouwere.is_erased(s.user_id)
    order by i.created_at desc, i.session_id desc limit least(greatest(coalesce(p_limit, 50), 0), 200);
end;
$$;
comment on function asyouwere.read_invitations is 'A page of the caller''s open invitations.';
revoke execute on function asyouwere.read_invitations from public;
grant execute on function asyouwere.read_invitations to authenticated, service_role;

create function public.list_invitations(
    p_limit int default 50, p_before timestamptz default null, p_before_id uuid default null
)
returns table (session_id uuid, role text, name text, invited_by uuid, created_at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.read_invitations(p_limit, p_before, p_before_id);
end;
$$;
comment on function public.list_invitations is
    'The caller''s open invitations, newest first, at most 200; role owner: a session to take over. Names '
    'are cut at 200 characters. Next page: p_before and p_before_id of the last row.';
revoke execute on function public.list_invitations from public, anon, authenticated, service_role;
grant execute on function public.list_invitations to authenticated, service_role;

create function asyouwere.refuse_membership(p_user_id uuid) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_most int := (select s.max_memberships_per_user from asyouwere.settings s);
    v_used int;
begin
    -- definer: the settings. The count goes no further than its limit.
    select count(*) into v_used from (
        select from public.session_members m where m.user_id = p_user_id and m.accepted_at is not null
        limit v_most + 1) n;
    if v_used > v_most then
        perform asyouwere.fail('quota_exceeded',
            'You are a member of as many sessions as allowed. Leave some first.',
            format('{"quota": "memberships", "used": %s, "limit": %s}', v_most, v_most));
    end if;
end;
$$;
comment on function asyouwere.refuse_membership is
    'Raises quota_exceeded if a person has accepted one too many.';
revoke execute on function asyouwere.refuse_membership from public;

create function asyouwere.accept_member(p_session_id uuid, p_user_id uuid) returns public.session_members
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_person uuid := case when current_setting('role') = 'service_role' then coalesce(p_user_id, auth.uid())
        else auth.uid() end;
    v_member public.session_members;
begin
    -- definer: nobody else may say that somebody has accepted. Not the session's lock: it is not the caller's
    -- yet.
    if v_person is null then
        perform asyouwere.fail('not_signed_in', 'Sign in to accept. The service gives p_user_id.');
    elsif p_user_id <> v_person then
        perform asyouwere.fail('forbidden', 'Only the service accepts for others.');
    end if;
    update public.session_members m
    set accepted_at = coalesce(m.accepted_at, now()), invited_by = null
    from public.free_agent_sessions s
    where m.session_id = p_session_id and m.user_id = v_person and s.id = m.session_id
        and s.visibility <> 'private' and not asyouwere.is_erased(s.user_id)
            and not asyouwere.is_erased(v_person)
    returning m.* into v_member;
    if not found then
        perform asyouwere.fail('invitation_not_found');
    end if;
    if asyouwere.is_limited() then
        perform asyouwere.refuse_membership(v_person);
    end if;
    perform asyouwere.charge();
    return v_member;
end;
$$;
comment on function asyouwere.accept_member is 'Makes an invited person a member.';
revoke execute on function asyouwere.accept_member from public;
grant execute on function asyouwere.accept_member to authenticated, service_role;

create function public.accept_invitation(p_session_id uuid, p_user_id uuid default null)
returns setof public.session_members
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.accept_member(p_session_id, p_user_id);
end;
$$;
comment on function public.accept_invitation is
    'Become a member of a session that one was invited to; again: the same row. p_user_id is for the '
    'service, which accepts for others. Raises invitation_not_found, quota_exceeded, not_signed_in, '
    'forbidden.';
revoke execute on function public.accept_invitation from public, anon, authenticated, service_role;
grant execute on function public.accept_invitation to authenticated, service_role;
