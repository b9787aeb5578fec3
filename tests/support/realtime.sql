-- A stand-in for the database half of Supabase Realtime: signatures, types, rights and failures as on the hosted one
-- (supabase/realtime, lib/realtime/tenants/repo/migrations). The server, which follows the table by logical replication
-- and holds the websockets, has no stand-in.
create schema realtime;
grant usage on schema realtime to anon, authenticated, service_role;

create table realtime.messages (
    topic text not null,
    extension text not null,
    payload jsonb,
    event text,
    private boolean default false,
    updated_at timestamp not null default now(),
    inserted_at timestamp not null default now(),
    id uuid not null default gen_random_uuid(),
    primary key (id, inserted_at)
) partition by range (inserted_at);
alter table realtime.messages enable row level security;
grant select, insert, update on realtime.messages to anon, authenticated, service_role;
create table realtime.messages_now partition of realtime.messages for values from (minvalue) to (maxvalue);

create function realtime.topic() returns text language sql stable
as $$ select nullif(current_setting('realtime.topic', true), '') $$;

create function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void
language plpgsql
as $$
declare
    v_id uuid := gen_random_uuid();
begin
    begin
        execute format('set local realtime.topic to %L', topic);
        insert into realtime.messages (id, payload, event, topic, private, extension)
        values (v_id, case when payload ? 'id' then payload else payload || jsonb_build_object('id', v_id) end,
            event, topic, private, 'broadcast');
    exception when others then
        raise warning 'ErrorSendingBroadcastMessage: %', sqlerrm;
    end;
end;
$$;
