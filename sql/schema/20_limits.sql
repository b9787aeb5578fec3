-- How much one person may do: a token bucket for writes, and quotas for sessions and stored bytes.
-- Every write takes tokens from the bucket of whoever calls; the service is not limited. A save must not cost
-- a second row update, so a session's owner takes some tokens ahead and keeps them in the session's row,
-- which a save writes anyway. They lapse with the minute, and until then the bucket fills up to that much
-- less: however many sessions one has, never more pass at once than a full bucket holds. When it runs low,
-- none are taken ahead. A call that is refused takes nothing, because its transaction leaves nothing behind.
-- So what can be refused for what others did costs little: a conflict looks at, and answers, a bounded number
-- of addresses. And what is large, done or refused, is done one at a time for each person: however many calls
-- somebody makes, no more than one processor is busy with them.
-- Breaks running code: no.

-- Unlogged: a crash fills the buckets again, which harms nobody, and spares every user's writes the log.
create unlogged table asyouwere.rate_buckets (
    user_id uuid primary key,
    tokens double precision not null,
    filled_at timestamptz not null default clock_timestamp(),
    sessions int not null default 0,
    stored_bytes bigint not null default 0,
    counted_at timestamptz not null default '-infinity',
    ahead int not null default 0,
    ahead_minute timestamptz not null default '-infinity',
    forget_at timestamptz
) with (fillfactor = 50);
comment on table asyouwere.rate_buckets is
    'What each person may still write now, and what they had at the last count.';
comment on column asyouwere.rate_buckets.ahead is
    'Taken ahead for sessions in ahead_minute; void afterwards.';
comment on column asyouwere.rate_buckets.forget_at is
    'The person''s data was deleted: the row goes once the bucket is full again, as a new one would be.';
create index rate_buckets_to_forget on asyouwere.rate_buckets (forget_at) where forget_at is not null;
comment on column asyouwere.rate_buckets.tokens is
    'In the bucket at filled_at; since then it has been filling.';
comment on column asyouwere.rate_buckets.sessions is
    'Sessions owned: counted at counted_at, and one more for each made since.';
comment on column asyouwere.rate_buckets.stored_bytes is 'Sum of their stored_bytes at counted_at.';
comment on column asyouwere.rate_buckets.counted_at is
    'Counted anew after a minute, and before anything is refused.';
alter table asyouwere.rate_buckets enable row level security; -- no policy: the functions only

create function asyouwere.is_busy(p_user uuid) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_key bigint := hashtextextended('asyouwere large ' || p_user, 0);
begin
    -- a lock of its own, given back at once: the one who asks is not busy for having asked
    if pg_try_advisory_lock_shared(v_key) then
        perform pg_advisory_unlock_shared(v_key);
        return false;
    end if;
    return true;
end;
$$;
comment on function asyouwere.is_busy is 'Whether another call of a person''s is under way that takes long.';
revoke execute on function asyouwere.is_busy from public;

create function asyouwere.locked_bucket(p_user uuid) returns asyouwere.rate_buckets
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_bucket asyouwere.rate_buckets;
begin
    for attempt in 1 .. 10 loop
        select * into v_bucket from asyouwere.rate_buckets b where b.user_id = p_user
        for no key update skip locked;
        if found then
            return v_bucket;
        end if;
        -- Somebody has it, or there is none. Whoever waits holds a connection, and perhaps the lock of a session, and
        -- both are others' too: so nobody waits for what takes long.
        if not asyouwere.is_busy(p_user) then
            insert into asyouwere.rate_buckets (user_id, tokens)
            select p_user, coalesce(s.writes_at_once, 0) from asyouwere.settings s
            where not exists (select from asyouwere.rate_buckets b where b.user_id = p_user)
            on conflict do nothing;
            select * into v_bucket from asyouwere.rate_buckets b where b.user_id = p_user for no key update;
            return v_bucket;
        end if;
        perform pg_sleep(0.005);
    end loop;
    perform asyouwere.fail('rate_limited',
        'A large call of yours is under way. Wait for the end of it, then send the same again.',
        '{"retry_after": 1}');
    return null;
end;
$$;
comment on function asyouwere.locked_bucket is
    'A person''s bucket, made full if there is none, locked till the end of the transaction. Raises rate_limited '
    'rather than wait for a large call of the same person''s.';
revoke execute on function asyouwere.locked_bucket from public;

create function asyouwere.take_tokens(p_user uuid, p_cost bigint, p_ahead int default 0) returns int
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings asyouwere.settings;
    v_bucket asyouwere.rate_buckets;
    v_minute timestamptz := date_trunc('minute', clock_timestamp());
    v_most int; -- tokens there can be besides those taken ahead
    v_tokens double precision;
    v_cost bigint;
    v_ahead int;
begin
    select * into v_settings from asyouwere.settings;
    if v_settings.writes_per_second is null then
        return p_ahead;
    end if;
    v_bucket := asyouwere.locked_bucket(p_user);
    if v_bucket.ahead_minute <> v_minute then
        v_bucket.ahead := 0;
    end if;
    v_most := greatest(v_settings.writes_at_once - v_bucket.ahead, 1);
    -- what costs more than a full bucket passes with a full one
    v_cost := least(p_cost, v_most);
    v_tokens := least(v_most,
        v_bucket.tokens + v_settings.writes_per_second
            * greatest(0, extract(epoch from clock_timestamp() - v_bucket.filled_at))::double precision);
    if v_tokens < v_cost then
        perform asyouwere.fail('rate_limited',
            'Too many writes in a short time. Wait, then send the same again.',
            format('{"retry_after": %s}', ceil((v_cost - v_tokens) / v_settings.writes_per_second)));
    end if;
    v_ahead := greatest(0, least(p_ahead, floor((v_tokens - v_cost) / 64),
        v_settings.writes_at_once / 2 - v_bucket.ahead));
    update asyouwere.rate_buckets b
    set tokens = v_tokens - v_cost - v_ahead, filled_at = clock_timestamp(),
        ahead = v_bucket.ahead + v_ahead, ahead_minute = v_minute
    where b.user_id = p_user;
    return v_ahead;
end;
$$;
comment on function asyouwere.take_tokens is
    'Takes tokens and says how many of p_ahead further ones it gave. Raises rate_limited with the seconds '
    'to wait.';
revoke execute on function asyouwere.take_tokens from public;

create function asyouwere.is_limited() returns boolean
language sql stable
-- Nobody signed in: the clean-up or an administrator; to all others our functions let nobody write. The role
-- first: a service's token need not name a user, and auth.uid() takes nothing but a uuid.
return case when current_setting('role') = 'service_role' then false else auth.uid() is not null end;
comment on function asyouwere.is_limited is 'Whether the caller is a person whose writes are counted.';
revoke execute on function asyouwere.is_limited from public;

create function asyouwere.charge(p_cost bigint default 1) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: buckets are private. Whoever calls it takes from their own bucket.
    if asyouwere.is_limited() then
        perform asyouwere.take_tokens(auth.uid(), greatest(p_cost, 1));
    end if;
end;
$$;
comment on function asyouwere.charge is 'Takes tokens from the caller''s bucket. Raises rate_limited.';
revoke execute on function asyouwere.charge from public;
grant execute on function asyouwere.charge to authenticated, service_role;

create function asyouwere.is_large_save(p_rows asyouwere.change_rows) returns boolean
language sql stable
-- inlined by the planner
return cardinality(p_rows.ops) > 2000 or pg_column_size(p_rows.bodies) > 1024 * 1024;
comment on function asyouwere.is_large_save is
    'Whether a save takes long enough to be one at a time: over 2,000 rows or 1 MB.';
revoke execute on function asyouwere.is_large_save from public;

create function asyouwere.is_far_behind(p_session bigint, p_base int) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
begin
    return (select count(*) from (select from asyouwere.parts_begun(p_session, p_base) limit 2001) b) > 2000
        or (select count(*) from (select from asyouwere.parts_ended(p_session, p_base) limit 2001) e) > 2000;
end;
$$;
comment on function asyouwere.is_far_behind is
    'Whether so much has changed since a base that to merge with it, or to tell it, takes long.';
revoke execute on function asyouwere.is_far_behind from public;

create function asyouwere.refuse_second_large() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    -- Never waits: whoever waits holds a connection, and few of those are everybody's.
    if asyouwere.is_limited()
        and not pg_try_advisory_xact_lock(hashtextextended('asyouwere large ' || auth.uid(), 0))
    then
        perform asyouwere.fail('rate_limited',
            'Another large call of yours is under way. Wait for the end of it, then send the same again.',
            '{"retry_after": 1}');
    end if;
end;
$$;
comment on function asyouwere.refuse_second_large is
    'Marks the caller as busy with something large till the end of the transaction. Raises rate_limited if another '
    'call of the caller''s is.';
revoke execute on function asyouwere.refuse_second_large from public;

create function asyouwere.charge_answer(p_bytes bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    -- a save that writes nothing costs nothing, but others wait for its session while the answer is made
    if p_bytes >= 1024 * 1024 then
        perform asyouwere.refuse_second_large();
        perform asyouwere.charge(p_bytes / (1024 * 1024));
    end if;
end;
$$;
comment on function asyouwere.charge_answer is
    'Takes a token for every MB that a save answers, and makes those of 1 MB one at a time. Raises rate_limited.';
revoke execute on function asyouwere.charge_answer from public;

create function asyouwere.charge_save(p_session public.free_agent_sessions,
    p_written_bytes bigint) returns int
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_caller uuid := auth.uid();
    v_cost bigint := 1 + p_written_bytes / (1024 * 1024);
    -- those of an earlier minute have lapsed
    v_left int := case when p_session.updated_at >= date_trunc('minute', clock_timestamp())
        then p_session.prepaid_saves else 0 end;
begin
    if not asyouwere.is_limited() then
        return v_left;
    elsif v_caller <> p_session.user_id then
        -- what is paid ahead is the owner's
        perform asyouwere.take_tokens(v_caller, v_cost);
    elsif v_left >= v_cost then
        return v_left - v_cost;
    else
        v_left := asyouwere.take_tokens(v_caller, v_cost - v_left, 20);
    end if;
    perform asyouwere.refuse_quota(p_session.user_id, 0, p_written_bytes);
    return v_left;
end;
$$;
comment on function asyouwere.charge_save is
    'Charges a save, a token and one for every MB written, and says how many the session''s owner has left '
    'ahead. Raises rate_limited, quota_exceeded.';
revoke execute on function asyouwere.charge_save from public;

create function asyouwere.refuse_quota(
    p_owner uuid, p_new_sessions int, p_new_bytes bigint, p_are_counted boolean default false
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings asyouwere.settings;
    v_bucket asyouwere.rate_buckets;
begin
    select * into v_settings from asyouwere.settings;
    if p_new_sessions = 0 and v_settings.max_stored_bytes_per_user is null
        or p_new_bytes = 0 and v_settings.max_sessions_per_user is null
    then
        return;
    end if;
    if p_owner = auth.uid() then
        v_bucket := asyouwere.locked_bucket(p_owner);
    else
        -- never waits for another person's bucket while holding the caller's: two who save for each other
        -- would lock up
        select * into v_bucket from asyouwere.rate_buckets b
            where b.user_id = p_owner for no key update skip locked;
    end if;
    -- counted each minute at most, unless it would be refused
    if v_bucket.user_id is null or v_bucket.counted_at < clock_timestamp() - interval '1 minute'
        or v_bucket.sessions + p_new_sessions > v_settings.max_sessions_per_user
        or v_bucket.stored_bytes + p_new_bytes > v_settings.max_stored_bytes_per_user
    then
        select count(*), coalesce(sum(s.stored_bytes), 0)
        into v_bucket.sessions, v_bucket.stored_bytes
        from public.free_agent_sessions s where s.user_id = p_owner;
        v_bucket.counted_at := clock_timestamp();
        if p_are_counted then -- the new ones are in the table by now
            v_bucket.sessions := v_bucket.sessions - p_new_sessions;
            v_bucket.stored_bytes := v_bucket.stored_bytes - p_new_bytes;
        end if;
    end if;
    if p_new_sessions > 0 and v_bucket.sessions + p_new_sessions > v_settings.max_sessions_per_user then
        perform asyouwere.fail('quota_exceeded',
            'The owner has as many sessions as allowed. Delete some first.',
            format('{"quota": "sessions", "used": %s, "limit": %s}', v_bucket.sessions,
                v_settings.max_sessions_per_user));
    elsif p_new_bytes > 0 and v_bucket.stored_bytes + p_new_bytes > v_settings.max_stored_bytes_per_user then
        perform asyouwere.fail('quota_exceeded',
            'The owner''s sessions hold as many bytes as allowed. Delete some, or let the clean-up take old versions.',
            format('{"quota": "stored_bytes", "used": %s, "limit": %s}', v_bucket.stored_bytes,
                v_settings.max_stored_bytes_per_user));
    end if;
    update asyouwere.rate_buckets b
    set sessions = v_bucket.sessions + p_new_sessions, stored_bytes = v_bucket.stored_bytes + p_new_bytes,
        counted_at = v_bucket.counted_at
    where b.user_id = v_bucket.user_id; -- not if it was left out as locked
end;
$$;
comment on function asyouwere.refuse_quota is
    'Raises quota_exceeded if the owner would have too many sessions or stored bytes. p_are_counted: they '
    'are in the table already.';
revoke execute on function asyouwere.refuse_quota from public;

create function asyouwere.charge_copy(p_owner uuid, p_bytes bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    if asyouwere.is_limited() then
        perform asyouwere.take_tokens(auth.uid(), p_bytes / (1024 * 1024));
        perform asyouwere.refuse_quota(p_owner, 0, p_bytes);
    end if;
end;
$$;
comment on function asyouwere.charge_copy is
    'Charges the bytes of a fork or an import; its session is charged when it is made. Raises rate_limited,'
    ' quota_exceeded.';
revoke execute on function asyouwere.charge_copy from public;

create function asyouwere.annotations_size(p_metadata jsonb, p_external_id text) returns int
language sql immutable parallel safe
return coalesce(octet_length(p_metadata::text), 0) + coalesce(octet_length(p_external_id), 0);
comment on function asyouwere.annotations_size is 'What a snapshot counts as for what the app says of it.';
revoke execute on function asyouwere.annotations_size from public;

create function asyouwere.uncount_annotations() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Definer: whoever deletes a session may not write its counts. Whoever deletes snapshots holds the session.
    update public.free_agent_sessions s set stored_bytes = s.stored_bytes - g.bytes
    from (
        select o.session_id, sum(asyouwere.annotations_size(o.metadata, o.external_id)) as bytes
        from gone o where o.metadata is not null or o.external_id is not null group by o.session_id
    ) g
    where s.id = g.session_id;
    return null;
end;
$$;
comment on function asyouwere.uncount_annotations is 'When snapshots go, what the app said of them counts no more.';
revoke execute on function asyouwere.uncount_annotations from public;
create trigger uncount_annotations after delete on public.session_snapshots
    referencing old table as gone for each statement execute function asyouwere.uncount_annotations();

create function asyouwere.stored_bytes(p_session bigint) returns bigint
language sql stable set search_path = pg_catalog, pg_temp
return (select coalesce(sum(p.size), 0) from asyouwere.parts p where p.session = p_session) + (
    select coalesce(sum(asyouwere.annotations_size(n.metadata, n.external_id)), 0)
    from public.free_agent_sessions s join public.session_snapshots n on n.session_id = s.id
    where s.internal_id = p_session);
comment on function asyouwere.stored_bytes is 'What free_agent_sessions.stored_bytes must be.';
revoke execute on function asyouwere.stored_bytes from public;

create function asyouwere.forget_bucket(p_user uuid) returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$
    -- not deleted: a new one would be full
    update asyouwere.rate_buckets b set forget_at = now(), sessions = 0, stored_bytes = 0,
        counted_at = '-infinity'
    where b.user_id = p_user
$$;
comment on function asyouwere.forget_bucket is
    'When a person''s data is deleted: the clean-up deletes the bucket once it is full.';
revoke execute on function asyouwere.forget_bucket from public;

create function asyouwere.forget_buckets(p_rows int) returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$
    delete from asyouwere.rate_buckets t where t.ctid = any (array(
        select b.ctid from asyouwere.rate_buckets b cross join asyouwere.settings s
        where b.forget_at <= now()
            and b.filled_at <= now() - make_interval(
                secs => coalesce((s.writes_at_once / s.writes_per_second)::double precision, 0))
        order by b.forget_at limit p_rows
        for update of b skip locked))
$$;
comment on function asyouwere.forget_buckets is
    'Deletes the buckets of people whose data is deleted, those that are full.';
revoke execute on function asyouwere.forget_buckets from public;
