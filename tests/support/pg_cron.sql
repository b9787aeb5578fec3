-- pg_cron's tables and functions with the rights that Supabase's image gives after create extension
create schema cron authorization supabase_admin;
grant usage on schema cron to people;
create table cron.job (
    jobid bigserial primary key, schedule text not null, command text not null, username text not null default session_user,
    active boolean not null default true, jobname text, unique (jobname, username)
);
alter table cron.job owner to supabase_admin;
grant select on cron.job to people;
create function cron.schedule(job_name text, schedule text, command text) returns bigint
language sql security definer as $$
    insert into cron.job (jobname, schedule, command) values ($1, $2, $3)
    on conflict (jobname, username) do update set schedule = excluded.schedule, command = excluded.command
    returning jobid
$$;
create function cron.unschedule(job_name text) returns boolean language sql security definer
as $$ delete from cron.job where jobname = $1 and username = session_user returning true $$;
alter function cron.schedule(text, text, text) owner to supabase_admin;
alter function cron.unschedule(text) owner to supabase_admin;
