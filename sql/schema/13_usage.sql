-- Usage: what answers have cost, as the app says it. Sums are kept, by model and day (UTC): of a session,
-- for as long as it is there; of the person who owned it then, for budgets that deleting a session does not
-- fill again. Money is numeric, never a float. The currency is the app's: one for all of its figures, which
-- is not stored. Before the lists, which show a session's cost.
-- Breaks running code: no.

create table public.session_usage (
    session_id uuid not null references public.free_agent_sessions (id) on delete cascade,
    day date not null,
    model text not null,
    calls int not null default 0,
    input_tokens bigint not null default 0,
    cached_tokens bigint not null default 0,
    output_tokens bigint not null default 0,
    cost numeric not null default 0,
    primary key (session_id, day, model)
) with (fillfactor = 80); -- a sum grows with each record; the update stays on its page (HOT)
comment on table public.session_usage is
    'What a session has used, by day and model. Written by record_usage(), read by the owner and members.';
comment on column public.session_usage.day is 'UTC.';
comment on column public.session_usage.cached_tokens is
    'Of the input tokens those that the model''s provider read from its cache.';
comment on column public.session_usage.cost is 'In the app''s currency.';

create table asyouwere.session_costs (
    session_id uuid primary key references public.free_agent_sessions (id) on delete cascade,
    calls int not null default 0,
    input_tokens bigint not null default 0,
    cached_tokens bigint not null default 0,
    output_tokens bigint not null default 0,
    cost numeric not null default 0,
    budget numeric
) with (fillfactor = 80);
comment on table asyouwere.session_costs is
    'Sum of a session''s usage, one row for lists to look up, and its budget. Sessions that used nothing '
    'have none.';
comment on column asyouwere.session_costs.budget is 'In the app''s currency; null: none.';

create table public.user_usage (
    user_id uuid not null,
    day date not null,
    model text not null,
    calls int not null default 0,
    input_tokens bigint not null default 0,
    cached_tokens bigint not null default 0,
    output_tokens bigint not null default 0,
    cost numeric not null default 0,
    primary key (user_id, day, model)
) with (fillfactor = 80);
comment on table public.user_usage is
    'What a person''s sessions have used, those that are deleted or another''s by now too. Each reads the '
    'own.';
create index user_usage_by_day on public.user_usage (day);

create table asyouwere.user_budgets (
    user_id uuid primary key,
    budget numeric not null,
    period text not null check (period in ('day', 'month'))
);
comment on table asyouwere.user_budgets is
    'How much each person''s sessions are to cost in a period; the service writes it.';

create table asyouwere.usage_records (
    session bigint not null,
    key uuid not null,
    content uuid not null,
    recorded_at timestamptz not null default now(),
    turn_id uuid,
    calls int not null default 1,
    input_tokens bigint not null,
    cached_tokens bigint not null,
    output_tokens bigint not null,
    cost numeric not null,
    primary key (session, key)
);
comment on table asyouwere.usage_records is
    'What was recorded with a key or a turn, for keep_keys_for: a retry counts once, and a turn knows '
    'what it cost.';
comment on column asyouwere.usage_records.session is
    'free_agent_sessions.internal_id. No foreign key: the sweep takes them, in steps.';
comment on column asyouwere.usage_records.key is 'MD5 of the idempotency key; at random if there was none.';
comment on column asyouwere.usage_records.content is 'MD5 of what was recorded, to tell a retry.';
create index usage_records_by_age on asyouwere.usage_records (recorded_at);
create index usage_records_by_turn on asyouwere.usage_records (session, turn_id) where turn_id is not null;

alter table public.session_usage enable row level security;
alter table public.user_usage enable row level security;
alter table asyouwere.session_costs enable row level security;
alter table asyouwere.user_budgets enable row level security; -- no policy: the functions only
alter table asyouwere.usage_records enable row level security; -- no policy: the functions only
revoke all on public.session_usage, public.user_usage from anon, authenticated, service_role;
grant select on public.session_usage, public.user_usage, asyouwere.session_costs to authenticated,
    service_role;

-- What a public session costs is nobody's business but of those who work with it. The session itself is
-- read under its own policy, so a member of one that is private again reads nothing.
create policy "Owners and members read what a session has used"
    on public.session_usage for select to authenticated
    using ((
        select s.user_id = (select auth.uid())
            or s.id = any (array(select asyouwere.session_ids_shared_with_me()))
        from public.free_agent_sessions s where s.id = session_usage.session_id));
create policy "Owners and members read what a session costs"
    on asyouwere.session_costs for select to authenticated
    using ((
        select s.user_id = (select auth.uid())
            or s.id = any (array(select asyouwere.session_ids_shared_with_me()))
        from public.free_agent_sessions s where s.id = session_costs.session_id));
create policy "People read what their sessions have used"
    on public.user_usage for select to authenticated using (user_id = (select auth.uid()));

create function asyouwere.forget_usage(p_rows int) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_settings asyouwere.settings;
    v_records int;
    v_sums int;
begin
    select * into v_settings from asyouwere.settings;
    delete from asyouwere.usage_records t where t.ctid = any (array(
        select r.ctid from asyouwere.usage_records r
        where r.recorded_at < now() - v_settings.keep_keys_for
        order by r.recorded_at limit p_rows for update skip locked));
    get diagnostics v_records = row_count;
    delete from public.user_usage t where t.ctid = any (array(
        select u.ctid from public.user_usage u
        where u.day < (now() - v_settings.keep_usage_for)::date
        order by u.day limit p_rows for update skip locked));
    get diagnostics v_sums = row_count;
    return v_records = p_rows or v_sums = p_rows;
end;
$$;
comment on function asyouwere.forget_usage is
    'Deletes old records of usage and old sums of people; true if there are more.';
revoke execute on function asyouwere.forget_usage from public;
