-- Asking for usage: of a session, in all, by day and model; of a person.
-- Breaks running code: no.

create function asyouwere.session_of_insider(p_session_id uuid) returns public.free_agent_sessions
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
begin
    if not asyouwere.is_insider(v_session.id, v_session.user_id) then
        perform asyouwere.fail('forbidden', 'What a session costs is told to its owner and members.');
    end if;
    return v_session;
end;
$$;
comment on function asyouwere.session_of_insider is
    'The session''s row for its owner and members. Raises session_not_found, forbidden.';
revoke execute on function asyouwere.session_of_insider from public;

create function asyouwere.read_session_usage(p_session_id uuid, p_turn_id uuid)
returns table (
    calls bigint, input_tokens bigint, cached_tokens bigint, output_tokens bigint, cost numeric,
        budget numeric,
    used numeric
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_session public.free_agent_sessions := asyouwere.session_of_insider(p_session_id);
begin
    -- definer: access is checked once, above
    if p_turn_id is not null then
        return query
        select count(*), coalesce(sum(r.input_tokens), 0)::bigint, coalesce(sum(r.cached_tokens), 0)::bigint,
            coalesce(sum(r.output_tokens), 0)::bigint, coalesce(sum(r.cost), 0), null::numeric, null::numeric
        from asyouwere.usage_records r where r.session = v_session.internal_id and r.turn_id = p_turn_id;
        return;
    end if;
    return query
    select coalesce(c.calls, 0)::bigint, coalesce(c.input_tokens, 0), coalesce(c.cached_tokens, 0),
        coalesce(c.output_tokens, 0), coalesce(c.cost, 0), c.budget, asyouwere.used_of(c.cost, c.budget)
    from (select) one left join asyouwere.session_costs c on c.session_id = v_session.id;
end;
$$;
comment on function asyouwere.read_session_usage is 'What a session, or one of its turns, has used.';
revoke execute on function asyouwere.read_session_usage from public;
grant execute on function asyouwere.read_session_usage to authenticated, service_role;

create function public.get_session_usage(p_session_id uuid, p_turn_id uuid default null)
returns table (
    calls bigint, input_tokens bigint, cached_tokens bigint, output_tokens bigint, cost numeric,
        budget numeric,
    used numeric
)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.read_session_usage(p_session_id, p_turn_id);
end;
$$;
comment on function public.get_session_usage is
    'What a session has used in all, its budget and how much of it is used; with p_turn_id what one turn '
    'has used, '
    'for as long as keys are kept. The owner and members. Raises session_not_found, forbidden.';
revoke execute on function public.get_session_usage from public, anon, authenticated, service_role;
grant execute on function public.get_session_usage to authenticated, service_role;

create function asyouwere.read_usage_days(
    p_session_id uuid, p_limit int, p_before date, p_before_model text
) returns setof public.session_usage
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_of_insider(p_session_id);
begin
    -- definer: access is checked once, above
    return query
    select * from public.session_usage u
    where u.session_id = v_session.id
        and (u.day, u.model) < (coalesce(p_before, 'infinity'), coalesce(p_before_model, ''))
    order by u.day desc, u.model desc limit least(greatest(coalesce(p_limit, 100), 0), 1000);
end;
$$;
comment on function asyouwere.read_usage_days is 'A page of a session''s sums.';
revoke execute on function asyouwere.read_usage_days from public;
grant execute on function asyouwere.read_usage_days to authenticated, service_role;

create function public.list_session_usage(
    p_session_id uuid, p_limit int default 100, p_before date default null, p_before_model text default null
) returns setof public.session_usage
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.read_usage_days(p_session_id, p_limit, p_before, p_before_model);
end;
$$;
comment on function public.list_session_usage is
    'What a session has used by day and model, newest day first, at most 1,000 a call. Next page: day and '
    'model of '
    'the last row. The owner and members. Raises session_not_found, forbidden.';
revoke execute on function public.list_session_usage from public, anon, authenticated, service_role;
grant execute on function public.list_session_usage to authenticated, service_role;

create function asyouwere.read_user_usage(p_user_id uuid)
returns table (
    user_id uuid, period text, since date, calls bigint, input_tokens bigint, cached_tokens bigint,
    output_tokens bigint, cost numeric, budget numeric, used numeric
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_person uuid := case when current_setting('role') = 'service_role' then coalesce(p_user_id, auth.uid())
        else auth.uid() end;
    v_budget asyouwere.user_budgets;
    v_sum asyouwere.usage_sum;
begin
    -- definer: budgets are private
    if v_person is null then
        perform asyouwere.fail('not_signed_in', 'Sign in, or say as the service whose usage it is.');
    elsif p_user_id <> v_person then
        perform asyouwere.fail('forbidden', 'What others have used is told to the service only.');
    end if;
    select * into v_budget from asyouwere.user_budgets b where b.user_id = v_person;
    v_budget.period := coalesce(v_budget.period, 'month');
    v_sum := asyouwere.sum_of_user(v_person, asyouwere.period_start(v_budget.period));
    return query select v_person, v_budget.period, asyouwere.period_start(v_budget.period),
        v_sum.calls, v_sum.input_tokens, v_sum.cached_tokens, v_sum.output_tokens, v_sum.cost,
            v_budget.budget,
        asyouwere.used_of(v_sum.cost, v_budget.budget);
end;
$$;
comment on function asyouwere.read_user_usage is
    'What a person''s sessions have used in the budget''s period.';
revoke execute on function asyouwere.read_user_usage from public;
grant execute on function asyouwere.read_user_usage to authenticated, service_role;

create function public.get_my_usage(p_user_id uuid default null)
returns table (
    user_id uuid, period text, since date, calls bigint, input_tokens bigint, cached_tokens bigint,
    output_tokens bigint, cost numeric, budget numeric, used numeric
)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.read_user_usage(p_user_id);
end;
$$;
comment on function public.get_my_usage is
    'What the caller''s sessions have used in this period of the caller''s budget (without one: this '
    'month, UTC), '
    'deleted ones too, and how much of it is used. p_user_id is for the service. By day and model: '
    'user_usage. Raises '
    'not_signed_in, forbidden.';
revoke execute on function public.get_my_usage from public, anon, authenticated, service_role;
grant execute on function public.get_my_usage to authenticated, service_role;
