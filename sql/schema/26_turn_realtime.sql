-- Whoever hears of a session's snapshots hears of its turns: {session, turn, seq}, event turn, when one
-- begins, is flushed, is to stop, or ends. Nothing of the content travels; get_turn() tells. Where there is
-- no Realtime there is no trigger.
-- Breaks running code: no.

create function asyouwere.send_turn(p_session_id uuid, p_turn_id uuid, p_seq int) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set lock_timeout = '250ms'
as $$
begin
    perform realtime.send(
        jsonb_build_object('session', p_session_id, 'turn', p_turn_id, 'seq', p_seq), 'turn',
        'asyouwere:' || p_session_id, true);
exception when others then
    -- as announce_snapshots(): never is a flush lost for it
    raise warning 'asyouwere: turn saved, but realtime.send() failed (SQLSTATE %)', sqlstate;
end;
$$;
comment on function asyouwere.send_turn is 'Tells listeners how far a turn has come; never fails.';
revoke execute on function asyouwere.send_turn from public;

create function asyouwere.announce_turn() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: the owner sends, nobody else may
    perform asyouwere.send_turn(new.session_id, new.id, new.last_seq);
    return null;
end;
$$;
comment on function asyouwere.announce_turn is
    'Tells listeners that a turn has begun, is to stop, or has ended.';
revoke execute on function asyouwere.announce_turn from public;

create function asyouwere.announce_chunks() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_turn record;
begin
    -- definer: as above
    select t.session_id, t.id into v_turn
    from public.free_agent_sessions s
    join public.session_turns t on t.session_id = s.id and t.internal_id = new.turn
    where s.internal_id = new.session;
    perform asyouwere.send_turn(v_turn.session_id, v_turn.id, new.seq);
    return null;
end;
$$;
comment on function asyouwere.announce_chunks is 'Tells listeners of a flush.';
revoke execute on function asyouwere.announce_chunks from public;

select asyouwere.enable_realtime();
