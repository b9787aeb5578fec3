-- Recording usage and asking for it. Who may save into a session records what its answers cost; the
-- session's owner pays, as for stored bytes, whoever records. A budget refuses nothing: the money is spent
-- when it is recorded. It says how much of it is used, and the app decides. What must not be forged is
-- recorded by the service.
-- Breaks running code: no.

create type asyouwere.budget_state as (
    recorded boolean, cost numeric, budget numeric, used numeric,
    user_cost numeric, user_budget numeric, user_used numeric
);
comment on type asyouwere.budget_state is 'What record_usage answers.';

create type asyouwere.usage_sum as (
    calls bigint, input_tokens bigint, cached_tokens bigint, output_tokens bigint, cost numeric
);
comment on type asyouwere.usage_sum is 'Usage added up.';

create function asyouwere.used_of(p_cost numeric, p_budget numeric) returns numeric
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
return trim_scale(round(p_cost / p_budget, 4));
comment on function asyouwere.used_of is
    'How much of a budget is used: 0.8 is 80 %, over 1 is over; null without one.';
revoke execute on function asyouwere.used_of from public;

create function asyouwere.refuse_amounts(
    p_model text, p_input_tokens bigint, p_output_tokens bigint, p_cost numeric, p_cached_tokens bigint,
        p_key text
) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    -- NaN and infinity are above every number
    v_problem text := case
        when p_model is null or length(p_model) not between 1 and 200 then 'A model has 1 to 200 characters'
        when p_input_tokens is null or p_input_tokens not between 0 and 1000000000
            then 'input_tokens is 0 to 1,000,000,000'
        when p_output_tokens is null or p_output_tokens not between 0 and 1000000000
            then 'output_tokens is 0 to 1,000,000,000'
        when p_cached_tokens is null or p_cached_tokens not between 0 and p_input_tokens
            then 'cached_tokens is 0 to input_tokens'
        when p_cost is null or p_cost not between 0 and 1000000000
            then 'cost is a number from 0 to 1,000,000,000'
        when length(p_key) not between 1 and 255 then 'An idempotency key has 1 to 255 characters' end;
begin
    if v_problem is not null then
        perform asyouwere.fail('invalid_argument', v_problem || '.');
    end if;
end;
$$;
comment on function asyouwere.refuse_amounts is 'Raises invalid_argument for what is no usage.';
revoke execute on function asyouwere.refuse_amounts from public;

create function asyouwere.refuse_budget(p_budget numeric) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if p_budget not between 0.000001 and 1000000000000 then
        perform asyouwere.fail('invalid_argument',
            'A budget is more than 0, at most 1,000,000,000,000; null: none.');
    end if;
end;
$$;
comment on function asyouwere.refuse_budget is 'Raises invalid_argument for what is no budget.';
revoke execute on function asyouwere.refuse_budget from public;

create function asyouwere.counted_model(p_model text, p_known text[]) returns text
language sql stable set search_path = pg_catalog, pg_temp
return case
    when p_model = any (p_known) or not asyouwere.is_limited() then p_model
    when cardinality(p_known) < (select s.max_models_per_day from asyouwere.settings s) then p_model
    else 'other' end;
comment on function asyouwere.counted_model is
    'Under which name usage is added up, given those that a day has: past so many, all further ones are "other". '
    'What is kept does not grow with names made up, and nobody''s usage goes missing for another''s.';
revoke execute on function asyouwere.counted_model from public;

create function asyouwere.add_usage(
    p_session public.free_agent_sessions, p_model text, p_sum asyouwere.usage_sum
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_day date := (now() at time zone 'UTC')::date;
begin
    -- the order of locks: what belongs to the session, then the owner's sum, which other sessions meet at
    insert into asyouwere.session_costs as c (session_id, calls, input_tokens, cached_tokens, output_tokens,
        cost)
    values (p_session.id, p_sum.calls, p_sum.input_tokens, p_sum.cached_tokens, p_sum.output_tokens,
        p_sum.cost)
    on conflict (session_id) do update set calls = c.calls + excluded.calls,
        input_tokens = c.input_tokens + excluded.input_tokens,
        cached_tokens = c.cached_tokens + excluded.cached_tokens,
        output_tokens = c.output_tokens + excluded.output_tokens, cost = c.cost + excluded.cost;
    insert into public.session_usage as u (session_id, day, model, calls, input_tokens, cached_tokens,
        output_tokens,
        cost)
    values (p_session.id, v_day, asyouwere.counted_model(p_model, array(
            select u.model from public.session_usage u where u.session_id = p_session.id and u.day = v_day)),
        p_sum.calls, p_sum.input_tokens, p_sum.cached_tokens, p_sum.output_tokens, p_sum.cost)
    on conflict (session_id, day, model) do update set calls = u.calls + excluded.calls,
        input_tokens = u.input_tokens + excluded.input_tokens,
        cached_tokens = u.cached_tokens + excluded.cached_tokens,
        output_tokens = u.output_tokens + excluded.output_tokens, cost = u.cost + excluded.cost;
    insert into public.user_usage as u (user_id, day, model, calls, input_tokens, cached_tokens,
        output_tokens, cost)
    values (p_session.user_id, v_day, asyouwere.counted_model(p_model, array(
            select u.model from public.user_usage u where u.user_id = p_session.user_id and u.day = v_day)),
        p_sum.calls, p_sum.input_tokens, p_sum.cached_tokens, p_sum.output_tokens, p_sum.cost)
    on conflict (user_id, day, model) do update set calls = u.calls + excluded.calls,
        input_tokens = u.input_tokens + excluded.input_tokens,
        cached_tokens = u.cached_tokens + excluded.cached_tokens,
        output_tokens = u.output_tokens + excluded.output_tokens, cost = u.cost + excluded.cost;
end;
$$;
comment on function asyouwere.add_usage is
    'Adds to the sums of a session and of its owner.';
revoke execute on function asyouwere.add_usage from public;

create function asyouwere.period_start(p_period text) returns date
language sql stable set search_path = pg_catalog, pg_temp
return date_trunc(coalesce(p_period, 'month'), now() at time zone 'UTC')::date;
comment on function asyouwere.period_start is
    'Since which day (UTC) a person''s budget counts; without one, the month.';
revoke execute on function asyouwere.period_start from public;

create function asyouwere.sum_of_user(p_user_id uuid, p_since date) returns asyouwere.usage_sum
language sql stable set search_path = pg_catalog, pg_temp
return (
    select (coalesce(sum(u.calls), 0), coalesce(sum(u.input_tokens), 0), coalesce(sum(u.cached_tokens), 0),
        coalesce(sum(u.output_tokens), 0), coalesce(sum(u.cost), 0))::asyouwere.usage_sum
    from public.user_usage u where u.user_id = p_user_id and u.day >= p_since);
comment on function asyouwere.sum_of_user is 'What a person''s sessions have used since a day.';
revoke execute on function asyouwere.sum_of_user from public;

create function asyouwere.budgets_after(p_session public.free_agent_sessions, p_recorded boolean)
returns asyouwere.budget_state
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_costs asyouwere.session_costs;
    v_budget asyouwere.user_budgets;
    v_state asyouwere.budget_state;
begin
    select * into v_costs from asyouwere.session_costs c where c.session_id = p_session.id;
    v_state.recorded := p_recorded;
    v_state.cost := coalesce(v_costs.cost, 0);
    v_state.budget := v_costs.budget;
    v_state.used := asyouwere.used_of(v_state.cost, v_costs.budget);
    -- an editor is told of this session, not of all that its owner does
    if p_session.user_id = auth.uid() or current_setting('role') = 'service_role' then
        select * into v_budget from asyouwere.user_budgets b where b.user_id = p_session.user_id;
        if found then
            v_state.user_budget := v_budget.budget;
            v_state.user_cost := (asyouwere.sum_of_user(
                p_session.user_id, asyouwere.period_start(v_budget.period))).cost;
            v_state.user_used := asyouwere.used_of(v_state.user_cost, v_budget.budget);
        end if;
    end if;
    return v_state;
end;
$$;
comment on function asyouwere.budgets_after is
    'How much of a session''s budget, and for its owner of theirs, is used.';
revoke execute on function asyouwere.budgets_after from public;

create function asyouwere.write_usage(
    p_session_id uuid, p_model text, p_sum asyouwere.usage_sum, p_turn_id uuid, p_idempotency_key text
) returns asyouwere.budget_state
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions;
    v_key uuid := coalesce(md5(p_idempotency_key)::uuid, gen_random_uuid());
    v_content uuid;
    v_earlier uuid;
begin
    -- Definer: nobody writes sums but through here. Of the session only that it stays, and whose: saves go
    -- on meanwhile.
    select * into v_session from public.free_agent_sessions s
    where s.id = p_session_id and asyouwere.role_of(s.id, s.user_id, s.visibility) in ('owner', 'editor')
    for key share;
    if not found then
        perform asyouwere.refuse_access(p_session_id, 'editor');
    elsif asyouwere.is_erased(v_session.user_id) then
        perform asyouwere.fail('forbidden', 'This account is being deleted.');
    end if;
    perform asyouwere.refuse_amounts(
        p_model, p_sum.input_tokens, p_sum.output_tokens, p_sum.cost, p_sum.cached_tokens, p_idempotency_key);
    p_sum.calls := 1;
    p_sum.cost := trim_scale(round(p_sum.cost,
        12)); -- a millionth of a millionth: no row has a thousand digits
    v_content := md5(concat_ws(E'\x01', p_turn_id, p_sum.input_tokens, p_sum.cached_tokens,
        p_sum.output_tokens,
        p_sum.cost, p_model))::uuid;
    if p_idempotency_key is not null or p_turn_id is not null then
        -- whoever comes second waits here for the first, and then finds it
        insert into asyouwere.usage_records (session, key, content, turn_id, input_tokens, cached_tokens,
            output_tokens, cost)
        values (v_session.internal_id, v_key, v_content, p_turn_id, p_sum.input_tokens, p_sum.cached_tokens,
            p_sum.output_tokens, p_sum.cost)
        on conflict do nothing;
        if not found then
            select r.content into v_earlier from asyouwere.usage_records r
            where r.session = v_session.internal_id and r.key = v_key;
            if v_earlier is distinct from v_content then
                perform asyouwere.fail('idempotency_key_reused');
            end if;
            return asyouwere.budgets_after(v_session, false);
        end if;
    end if;
    perform asyouwere.add_usage(v_session, p_model, p_sum);
    perform asyouwere.charge();
    return asyouwere.budgets_after(v_session, true);
end;
$$;
comment on function asyouwere.write_usage is
    'Checks access and amounts, then records once per key. Raises session_not_found, forbidden, '
    'invalid_argument, '
    'idempotency_key_reused, rate_limited.';
revoke execute on function asyouwere.write_usage from public;
grant execute on function asyouwere.write_usage to authenticated, service_role;

create function public.record_usage(
    p_session_id uuid, p_model text, p_input_tokens bigint, p_output_tokens bigint, p_cost numeric default 0,
    p_turn_id uuid default null, p_idempotency_key text default null, p_cached_tokens bigint default 0
) returns setof asyouwere.budget_state
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.write_usage(p_session_id, p_model,
        (1, p_input_tokens, p_cached_tokens, p_output_tokens, p_cost)::asyouwere.usage_sum,
        p_turn_id, p_idempotency_key);
end;
$$;
comment on function public.record_usage is
    'Record what a call of a model used and cost, once per idempotency key. Answers what the session '
    'costs by now and '
    'how much of its budget, and for its owner of the owner''s, is used; refuses nothing for a budget. '
    'Owner and '
    'editors. Raises invalid_argument, idempotency_key_reused.';
revoke execute on function public.record_usage from public, anon, authenticated, service_role;
grant execute on function public.record_usage to authenticated, service_role;
