-- Budgets: set and taken away. What they do is in 32_recording_usage.sql: they tell, and refuse nothing.
-- Breaks running code: no.

create function asyouwere.write_session_budget(p_session_id uuid, p_budget numeric) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: nobody writes costs but through here
    perform from public.free_agent_sessions s
    where s.id = p_session_id and asyouwere.role_of(s.id, s.user_id, s.visibility) = 'owner' for key share;
    if not found then
        perform asyouwere.refuse_access(p_session_id, 'owner');
    end if;
    perform asyouwere.refuse_budget(p_budget);
    insert into asyouwere.session_costs (session_id, budget) values (p_session_id,
        trim_scale(round(p_budget, 12)))
    on conflict (session_id) do update set budget = excluded.budget;
    perform asyouwere.charge();
end;
$$;
comment on function asyouwere.write_session_budget is 'Sets a session''s budget, or takes it away.';
revoke execute on function asyouwere.write_session_budget from public;
grant execute on function asyouwere.write_session_budget to authenticated, service_role;

create function public.set_session_budget(p_session_id uuid, p_budget numeric default null)
returns table (
    calls bigint, input_tokens bigint, cached_tokens bigint, output_tokens bigint, cost numeric,
        budget numeric,
    used numeric
)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    perform asyouwere.write_session_budget(p_session_id, p_budget);
    return query select * from asyouwere.read_session_usage(p_session_id, null);
end;
$$;
comment on function public.set_session_budget is
    'How much a session is to cost in all; null: no budget. Answers as get_session_usage. Owner only. Raises '
    'session_not_found, forbidden, invalid_argument.';
revoke execute on function public.set_session_budget from public, anon, authenticated, service_role;
grant execute on function public.set_session_budget to authenticated, service_role;

create function asyouwere.write_user_budget(p_user_id uuid, p_budget numeric, p_period text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: budgets are private
    perform asyouwere.refuse_budget(p_budget);
    if p_user_id is null or p_period is null or p_period not in ('day', 'month') then
        perform asyouwere.fail('invalid_argument', 'Say whose budget it is; a period is day or month.');
    elsif asyouwere.is_erased(p_user_id) then
        perform asyouwere.fail('forbidden', 'This account is being deleted.');
    end if;
    if p_budget is null then
        delete from asyouwere.user_budgets b where b.user_id = p_user_id;
    else
        insert into asyouwere.user_budgets (user_id, budget, period) values (p_user_id,
            trim_scale(round(p_budget, 12)), p_period)
        on conflict (user_id) do update set budget = excluded.budget, period = excluded.period;
    end if;
end;
$$;
comment on function asyouwere.write_user_budget is 'Sets a person''s budget, or takes it away.';
revoke execute on function asyouwere.write_user_budget from public;
grant execute on function asyouwere.write_user_budget to service_role;

create function public.set_user_budget(p_user_id uuid, p_budget numeric, p_period text default 'month')
returns table (
    user_id uuid, period text, since date, calls bigint, input_tokens bigint, cached_tokens bigint,
    output_tokens bigint, cost numeric, budget numeric, used numeric
)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    perform asyouwere.write_user_budget(p_user_id, p_budget, p_period);
    return query select * from asyouwere.read_user_usage(p_user_id);
end;
$$;
comment on function public.set_user_budget is
    'How much a person''s sessions are to cost in a day or month (UTC); null: no budget. Answers as '
    'get_my_usage. Service only. Raises invalid_argument, forbidden.';
revoke execute on function public.set_user_budget from public, anon, authenticated, service_role;
grant execute on function public.set_user_budget to service_role;
