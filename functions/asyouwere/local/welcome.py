"""What `asyouwere run` prints when everything is up: where it is, and three lines to try it."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from asyouwere.local.stack import DEMO_USER, LocalStack, data_folder
from asyouwere.local.tokens import email_of

FIRST_STATE: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "Where were we?"},
        {"role": "assistant", "content": "At the beginning."},
    ],
    "memory": {"topic": "asyouwere"},
    "currentStep": 1,
}


def welcome(stack: LocalStack) -> str:
    """The text for the terminal. Also writes the token into a file of mode 600, where curl reads it."""
    token = stack.token()
    token_file = stack.folder / "demo.token"
    write_private(token_file, token + "\n")
    create, save, restore = curl_lines(stack.url, token_file, new_session_id())
    return f"""
asyouwere is running. Ctrl-C stops it; the data stay.
{_page(stack)}
  URL       {stack.url}
  Data      {stack.folder}
  Postgres  {stack.dsn}
  Log       {stack.log}

A token of the user "{DEMO_USER}", good for 12 hours:

{token}
{_supabase(stack)}
Create a session, save its state, restore it:

{create}

{save}

{restore}

In another terminal:

{_commands(stack)}
{_page(stack)}"""


def _page(stack: LocalStack) -> str:
    """The page comes first: it is what most people want to see."""
    return f"\n  Page      {stack.page_url}\n" if stack.page_url else ""


def _commands(stack: LocalStack) -> str:
    """What else there is, each line as it can be pasted here: with this program and this data folder."""
    program = "asyouwere"
    if shutil.which(program) is None:
        started = sys.argv[0].endswith(program)
        program = shlex.quote(sys.argv[0]) if started else f"{sys.executable} -m {__package__}.cli"
    where = "" if stack.folder == data_folder() else f" --data {shlex.quote(str(stack.folder))}"
    commands = {
        f"{program} psql{where}": "SQL as that user, under row level security",
        f"export $({program} keys{where})": "FUNCTIONS_URL, and what else clients need",
        f"{program} token --user ada{where}": "another user, to share with (more: token --help)",
        f"{program} doctor{where}": "whether all is well",
    }
    width = max(map(len, commands))
    return "\n".join(f"  {command:<{width}}  {what}" for command, what in commands.items())


def _supabase(stack: LocalStack) -> str:
    """Where supabase-js and supabase-py find everything; nothing when it does not run."""
    if not stack.supabase.running:
        return ""
    url, key = stack.supabase.url, stack.api_key("anon")
    return f"""
For supabase-js and supabase-py:

  Supabase  {url}
  Anon      {key}
  Service   {stack.api_key("service_role")}
  Demo      {email_of(DEMO_USER)}, password {stack.demo_password}
  Mail      {stack.supabase.mailbox}

const supabase = createClient('{url}', '{key}')
await supabase.auth.signInWithPassword({{email: '{email_of(DEMO_USER)}', password: '{stack.demo_password}'}})
"""


def curl_lines(url: str, token_file: Path, session_id: uuid.UUID) -> tuple[str, str, str]:
    """Three command lines that work as they are, in this order, in bash and zsh: create, save, restore."""
    session = str(session_id)
    return (
        _curl(f"{url}/sessions", token_file, {"id": session, "name": "My first session"}),
        _curl(f"{url}/session-snapshot-save", token_file, {"session_id": session, "state": FIRST_STATE}),
        _curl(f"{url}/session-snapshot-restore", token_file, {"session_id": session}),
    )


def _curl(address: str, token_file: Path, body: dict[str, Any]) -> str:
    # The token comes from the file, so that the line stays readable and works in a terminal of its own.
    # --noproxy: a proxy of the person's shell has no way to this machine.
    return (
        f"curl -sS --noproxy '*' -w '\\n' {address}"
        f' -H "Authorization: Bearer $(cat {shlex.quote(str(token_file))})"'
        f" -H 'Content-Type: application/json'"
        f" -d {shlex.quote(json.dumps(body))}"
    )


def new_session_id() -> uuid.UUID:
    """A new id that sorts by time (UUID version 7), as the database makes them."""
    milliseconds = int(time.time() * 1000)
    bits = milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return uuid.UUID(int=bits)


def write_private(path: Path, text: str) -> None:
    """A file that only its owner can read, from its first byte on."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    part.rename(path)
