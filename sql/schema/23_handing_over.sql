-- Handing sessions over: one to another person, who accepts it; or all of a guest's to the account signed in
-- to. Sessions keep their ids, numbers and history, and count against the new owner's quotas.
-- Breaks running code: no.

create table asyouwere.transfers (
    session_id uuid primary key references public.free_agent_sessions (id) on delete cascade,
    from_user uuid not null,
    to_user uuid not null,
    offered_at timestamptz not null default now()
);
comment on table asyouwere.transfers is 'Sessions that their owner has offered to somebody.';
alter table asyouwere.transfers enable row level security; -- no policy: the functions only
create index transfers_by_owner on asyouwere.transfers (from_user, to_user);
create index transfers_by_person on asyouwere.transfers (to_user, offered_at desc, session_id desc);

create table asyouwere.offers (
    user_id uuid primary key,
    code bytea not null unique,
    expires_at timestamptz not null
);
comment on table asyouwere.offers is 'Guests who are about to take their sessions along.';
comment on column asyouwere.offers.code is 'SHA-256 of the code.';
alter table asyouwere.offers enable row level security; -- no policy: the functions only

create function asyouwere.give_sessions(p_ids uuid[], p_new_owner uuid) returns int
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_bytes bigint;
    v_new_keys int;
begin
    -- The caller holds lock_owner() of the new owner, and then the sessions. The bucket last: see
    -- 02_sessions.sql.
    select coalesce(sum(s.stored_bytes), 0) into v_bytes
    from public.free_agent_sessions s where s.id = any (p_ids);
    delete from public.session_members m where m.session_id = any (p_ids) and m.user_id = p_new_owner;
    update public.session_members m set invited_by = p_new_owner
    where m.session_id = any (p_ids) and m.accepted_at is null;
    delete from asyouwere.transfers t where t.session_id = any (p_ids);
    with given as (
        select s.id, exists (
            select from public.free_agent_sessions o where o.user_id = p_new_owner and o.key = s.key) as meets
        from public.free_agent_sessions s where s.id = any (p_ids)
    ), moved as (
        update public.free_agent_sessions s
        set user_id = p_new_owner, prepaid_saves = 0,
            parent_id = case when s.parent_id = any (p_ids) then s.parent_id end,
            key = case when g.meets then left(s.key, 460) || ' ' || gen_random_uuid() else s.key end
        from given g where s.id = g.id
        returning g.meets
    )
    select count(*) filter (where m.meets) into v_new_keys from moved m;
    perform asyouwere.charge(1 + cardinality(p_ids) / 100);
    if asyouwere.is_limited() then
        perform asyouwere.refuse_quota(p_new_owner, cardinality(p_ids), v_bytes, p_are_counted => true);
    end if;
    return v_new_keys;
end;
$$;
comment on function asyouwere.give_sessions is
    'Makes somebody the owner and says how many keys met and are new. Raises rate_limited, quota_exceeded.';
revoke execute on function asyouwere.give_sessions from public;

-- One session, to somebody
-- -----------------------------------------------------------------------------------
create function asyouwere.offer_transfer(p_session_id uuid, p_user_id uuid) returns asyouwere.transfers
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_write(p_session_id, 'owner');
    v_transfer asyouwere.transfers;
begin
    -- definer: session_to_write is private
    if p_user_id = v_session.user_id then
        perform asyouwere.fail('invalid_argument', 'The session is this person''s already.');
    end if;
    delete from asyouwere.transfers t where t.session_id = v_session.id returning * into v_transfer;
    if p_user_id is null then
        return v_transfer;
    elsif asyouwere.is_limited() then
        perform asyouwere.refuse_invitation(v_session.id, v_session.user_id, p_user_id);
    end if;
    perform asyouwere.refuse_unknown_person(v_session.user_id, p_user_id);
    insert into asyouwere.transfers (session_id, from_user, to_user)
    values (v_session.id, v_session.user_id, p_user_id) returning * into v_transfer;
    perform asyouwere.charge();
    return v_transfer;
end;
$$;
comment on function asyouwere.offer_transfer is
    'Offers a session to somebody in place of whom it was offered to before.';
revoke execute on function asyouwere.offer_transfer from public;
grant execute on function asyouwere.offer_transfer to authenticated, service_role;

create function public.transfer_session(p_session_id uuid, p_to_user uuid)
returns table (session_id uuid, to_user uuid, offered_at timestamptz)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select t.session_id, t.to_user, t.offered_at
    from asyouwere.offer_transfer(p_session_id, p_to_user) t;
end;
$$;
comment on function public.transfer_session is
    'Offer a session to somebody, who becomes its owner with accept_transfer(); null takes the offer back. '
    'Shown in list_invitations() as role owner. Owner only. Raises user_not_found, quota_exceeded, '
    'invalid_argument.';
revoke execute on function public.transfer_session from public, anon, authenticated, service_role;
grant execute on function public.transfer_session to authenticated, service_role;

create function asyouwere.take_transfer(p_session_id uuid) returns public.free_agent_sessions
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_caller uuid := auth.uid();
    v_owner uuid;
    v_session public.free_agent_sessions;
begin
    -- definer: the session is not the caller's yet
    if v_caller is null then
        perform asyouwere.fail('not_signed_in', 'Sign in as the person whom the session was offered to.');
    end if;
    -- looked at first, so that nobody locks a session that was not offered; and again under the lock
    if exists (select from asyouwere.transfers t where t.session_id = p_session_id
        and t.to_user = v_caller) then
        select s.user_id into v_owner from public.free_agent_sessions s where s.id = p_session_id;
        perform asyouwere.lock_owner(least(v_owner, v_caller));
        perform asyouwere.lock_owner(greatest(v_owner, v_caller));
        -- sessions of its own go with it
        perform from public.free_agent_sessions s
        where s.id = any (asyouwere.sessions_within(array[p_session_id])) and s.user_id = v_owner
        order by s.id for update;
        select * into v_session from public.free_agent_sessions s where s.id = p_session_id for update;
    end if;
    if v_session.id is null or asyouwere.is_erased(v_session.user_id) or asyouwere.is_erased(v_caller)
        or not exists (select from asyouwere.transfers t where t.session_id = p_session_id
            and t.to_user = v_caller)
    then
        perform asyouwere.fail('invitation_not_found');
    end if;
    -- the owner before has invited them, not this one, who may never have heard of them
    delete from public.session_members m
    where m.session_id = any (asyouwere.sessions_within(array[v_session.id])) and m.accepted_at is null;
    perform asyouwere.give_sessions(asyouwere.sessions_within(array[v_session.id]), v_caller);
    select * into v_session from public.free_agent_sessions s where s.id = p_session_id;
    return v_session;
end;
$$;
comment on function asyouwere.take_transfer is 'Makes the caller the owner of a session that was offered.';
revoke execute on function asyouwere.take_transfer from public;
grant execute on function asyouwere.take_transfer to authenticated, service_role;

create function public.accept_transfer(p_session_id uuid) returns setof public.free_agent_sessions
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.take_transfer(p_session_id);
end;
$$;
comment on function public.accept_transfer is
    'Become the owner of a session that was offered: with its id, history and members, without open '
    'invitations; a key that the '
    'caller has already becomes a new one. The owner before is a stranger then. Raises '
    'invitation_not_found, quota_exceeded.';
revoke execute on function public.accept_transfer from public, anon, authenticated, service_role;
grant execute on function public.accept_transfer to authenticated, service_role;

-- All of a guest's, to the account that the guest signs in to
-- ----------------------------------------------------
create function asyouwere.make_offer() returns table (code text, expires_at timestamptz)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: offers are private
    if auth.uid() is null then
        perform asyouwere.fail('not_signed_in',
            'Sign in, be it anonymously, as the one whose sessions they are.');
    end if;
    -- 122 random bits (RFC 9562, 5.4): nobody finds one in ten minutes
    code := replace(gen_random_uuid()::text, '-', '');
    expires_at := now() + interval '10 minutes';
    insert into asyouwere.offers as o (user_id, code, expires_at)
    values (auth.uid(), sha256(convert_to(make_offer.code, 'UTF8')), make_offer.expires_at)
    on conflict on constraint offers_pkey do update set code = excluded.code,
        expires_at = excluded.expires_at;
    perform asyouwere.charge();
    return next;
end;
$$;
comment on function asyouwere.make_offer is 'A code for the caller''s sessions; the database keeps its hash.';
revoke execute on function asyouwere.make_offer from public;
grant execute on function asyouwere.make_offer to authenticated;

create function public.offer_my_sessions() returns table (code text, expires_at timestamptz)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.make_offer();
end;
$$;
comment on function public.offer_my_sessions is
    'A code, good once and for ten minutes, with which claim_sessions() takes all sessions of the caller '
    'over to another account. A new one ends the one before.';
revoke execute on function public.offer_my_sessions from public, anon, authenticated, service_role;
grant execute on function public.offer_my_sessions to authenticated;

create function asyouwere.take_offer(p_code text) returns table (sessions int, new_keys int)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_caller uuid := auth.uid();
    v_hash bytea := sha256(convert_to(p_code, 'UTF8'));
    v_guest uuid;
    v_is_offered boolean := false;
    v_ids uuid[];
begin
    -- definer: the sessions are not the caller's yet
    if v_caller is null then
        perform asyouwere.fail('not_signed_in', 'Sign in to the account that the sessions are to go to.');
    end if;
    select o.user_id into v_guest from asyouwere.offers o where o.code = v_hash and o.user_id <> v_caller;
    if found and not asyouwere.is_erased(v_caller) and not asyouwere.is_erased(v_guest) then
        perform asyouwere.lock_owner(least(v_guest, v_caller));
        perform asyouwere.lock_owner(greatest(v_guest, v_caller));
        -- once: of two who come with it the second finds none
        delete from asyouwere.offers o where o.code = v_hash and o.expires_at > now();
        v_is_offered := found;
    end if;
    if not v_is_offered then
        perform asyouwere.fail('offer_not_found');
    end if;
    v_ids := array(
        select s.id from public.free_agent_sessions s where s.user_id = v_guest order by s.id
            limit 10001 for update);
    if cardinality(v_ids) > 10000 then
        perform asyouwere.fail('quota_exceeded',
            'At most 10,000 sessions can be taken over at once. Delete some first.',
            '{"quota": "claimed_sessions", "used": 10001, "limit": 10000}');
    end if;
    -- One person: answers that run go on, made with the account's token from now on. Before give_sessions, whose
    -- trigger ends the leases of the owner before.
    update public.session_turns t set started_by = v_caller
    where t.session_id = any (v_ids) and t.status = 'running' and t.started_by = v_guest;
    sessions := cardinality(v_ids);
    new_keys := asyouwere.give_sessions(v_ids, v_caller);
    return next;
end;
$$;
comment on function asyouwere.take_offer is
    'Makes the caller the owner of all sessions that a code stands for.';
revoke execute on function asyouwere.take_offer from public;
grant execute on function asyouwere.take_offer to authenticated;

create function public.claim_sessions(p_code text) returns table (sessions int, new_keys int)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.take_offer(p_code);
end;
$$;
comment on function public.claim_sessions is
    'Take over all sessions that a code of offer_my_sessions() stands for, all or none; keys that meet get '
    'a new one (new_keys counts them). Raises offer_not_found, quota_exceeded, rate_limited.';
revoke execute on function public.claim_sessions from public, anon, authenticated, service_role;
grant execute on function public.claim_sessions to authenticated;
