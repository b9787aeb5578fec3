-- Embeds: what PostgREST (11 and up) can't read off foreign keys, because views have none and sessions_list
-- stands on a view it does not see. A function of one row, named as what it leads to, is a relationship to
-- it. Their bodies were bound when they were made and they have no SET clause, so that the planner can see
-- inside: an embed of a table is then a join (not one of sessions_list: its rows hold sub-selects, which keep
-- the planner out). They run as the caller; the rows' policies decide.
-- Breaks running code: no.

create function public.session_messages(public.free_agent_sessions) returns setof public.session_messages
language sql stable rows 100
begin atomic
    -- not through the view: of its join the planner does not know that it comes in the order of positions
    select asyouwere.message_id($1.id, p.item) as id, $1.id as session_id, p.item as position,
        asyouwere.body_role(p.body) as role, asyouwere.body_text(p.body) as content,
        p.body::json as body, p.created_at
    from asyouwere.live_parts p
    where p.session = $1.internal_id and p.path = '/messages/' and p.item >= 0;
end;
comment on function public.session_messages(public.free_agent_sessions) is
    'The messages of a session, to be embedded.';

create function public.session_messages(public.sessions_list) returns setof public.session_messages
language sql stable rows 100
begin atomic
    -- a scalar sub-select, not a join, which would lose the order again
    select asyouwere.message_id($1.id, p.item) as id, $1.id as session_id, p.item as position,
        asyouwere.body_role(p.body) as role, asyouwere.body_text(p.body) as content,
        p.body::json as body, p.created_at
    from asyouwere.live_parts p
    where p.session = (select s.internal_id from public.free_agent_sessions s where s.id = $1.id)
        and p.path = '/messages/' and p.item >= 0;
end;
comment on function public.session_messages(public.sessions_list) is
    'The messages of a session, to be embedded.';

create function public.free_agent_sessions(public.session_messages) returns setof public.free_agent_sessions
language sql stable rows 1 -- so PostgREST embeds one object, no list
begin atomic
    select s.* from public.free_agent_sessions s where s.id = $1.session_id;
end;
comment on function public.free_agent_sessions(public.session_messages) is
    'The session of a message, to be embedded.';

create function public.session_snapshots(public.sessions_list) returns setof public.session_snapshots
language sql stable rows 100
begin atomic
    select n.* from public.session_snapshots n where n.session_id = $1.id;
end;
comment on function public.session_snapshots(public.sessions_list) is
    'The kept snapshots of a session, to be embedded.';

create function public.session_members(public.sessions_list) returns setof public.session_members
language sql stable rows 10
begin atomic
    select m.* from public.session_members m where m.session_id = $1.id;
end;
comment on function public.session_members(public.sessions_list) is
    'The members of a session, to be embedded.';

revoke execute on function
    public.session_messages(public.free_agent_sessions), public.session_messages(public.sessions_list),
    public.free_agent_sessions(public.session_messages), public.session_snapshots(public.sessions_list),
    public.session_members(public.sessions_list)
from public, anon, authenticated, service_role;
-- not to anon: whoever embeds by a function has to read the whole row that it starts from
grant execute on function
    public.session_messages(public.free_agent_sessions), public.session_messages(public.sessions_list),
    public.free_agent_sessions(public.session_messages), public.session_snapshots(public.sessions_list),
    public.session_members(public.sessions_list)
to authenticated, service_role;
