"""A runner as most apps have it: it writes the whole message anew, every second, into a row.

{"dsn": …, "id": …, "chunks": […], "pause_seconds": …} by standard input; a line {"seq": n} for each that is written.
"""

from __future__ import annotations

import json
import sys
import time

import psycopg

TABLE = """
    create table bench.messages (id uuid primary key, chat_id uuid not null, role text not null, parts jsonb not null,
        status text not null, created_at timestamptz not null default now());
    create index on bench.messages (chat_id, created_at);
    grant all on bench.messages to authenticated;
"""
BEGIN = "insert into bench.messages (id, chat_id, role, parts, status) values (%s, gen_random_uuid(), 'assistant', '[]', 'streaming')"
REWRITE = "update bench.messages set parts = %s where id = %s"
FINISH = "update bench.messages set status = 'done' where id = %s"
READ = "select parts -> 0 ->> 'text', status from bench.messages where id = %s"


def parts(text: str) -> str:
    """The message so far, as the AI SDK keeps it."""
    return json.dumps([{"type": "text", "text": text}], ensure_ascii=False)


def main() -> None:
    """Make the answer; the database's end is not survived."""
    told = json.load(sys.stdin)
    with psycopg.connect(told["dsn"], autocommit=True) as connection:
        connection.execute(BEGIN.encode(), (told["id"],))
        for seq in range(1, len(told["chunks"]) + 1):
            connection.execute(REWRITE.encode(), (parts("".join(told["chunks"][:seq])), told["id"]), prepare=True)
            print(json.dumps({"seq": seq}), flush=True)
            time.sleep(told["pause_seconds"])
        connection.execute(FINISH.encode(), (told["id"],))


if __name__ == "__main__":
    main()
