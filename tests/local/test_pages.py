"""A page in a browser, served on this machine by whatever somebody develops with, and what `asyouwere run` starts."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from asyouwere.local.demo.client import Client
from asyouwere.local.stack import LocalStack
from tests.examples.pages import examples
from tests.support.cluster import new_folder

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

PAGE = """<!doctype html><title>a page</title><pre id="seen">nothing</pre><script type="module">
const ask = async (path, body) => {
  const response = await fetch(%(url)s + path, {
    method: 'POST', body: JSON.stringify(body),
    headers: {Authorization: 'Bearer ' + %(token)s, 'Content-Type': 'application/json', 'Idempotency-Key': path},
  })
  return {status: response.status, id: response.headers.get('x-request-id'), body: await response.json()}
}
let seen
try {
  const session = (await ask('/sessions', {name: 'from a page'})).body
  seen = await ask('/session-snapshot-save', {session_id: session.id, state: {messages: ['from a page']}})
} catch (error) {
  seen = {error: String(error)}
}
document.getElementById('seen').textContent = JSON.stringify(seen)
</script>"""


FOLLOWER = """<!doctype html><meta charset="utf-8"><title>a follower</title><pre id="seen"></pre><script type="module">
globalThis.process = {env: %(told)s}
console.log = (...words) => { document.getElementById('seen').textContent += words.join(' ') + '\\n' }
</script><script type="module">
%(example)s
</script>"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing about it."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    root = new_folder()
    root.chmod(0o711)
    with LocalStack(root / "data", port=0, postgres_port=0) as running:
        yield running
    shutil.rmtree(root, ignore_errors=True)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:3000", True),
        ("http://127.0.0.1:5173", True),
        ("https://localhost", True),
        ("http://[::1]:8080", True),
        ("http://localhost.evil.example:3000", False),
        ("https://evil.example", False),
        ("null", False),
    ],
)
def test_preflight__only_pages_of_this_machine(stack: LocalStack, origin: str, allowed: bool) -> None:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }
    with httpx.Client(trust_env=False) as client:
        answer = client.options(f"{stack.url}/session-snapshot-save", headers=asked)
    assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
    assert ("access-control-allow-headers" in answer.headers) is allowed


def shown(page: str, folder: Path) -> str:
    """What a page, served from another port of this machine, has written into its element "seen"."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("needs chromium, which is not here")
    (folder / "index.html").write_text(page, encoding="utf-8")
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server",
             f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000", "--dump-dom",
             f"http://localhost:{server.server_port}/"],
            capture_output=True, text=True, encoding="utf-8", timeout=120,
        )  # fmt: skip
        server.shutdown()
    text = unescape(done.stdout.partition('<pre id="seen">')[2].partition("</pre>")[0])
    assert text, done.stderr
    return text


def test_page__in_a_real_browser__saves_a_session(stack: LocalStack, tmp_path: Path) -> None:
    seen = json.loads(shown(PAGE % {"url": json.dumps(stack.url), "token": json.dumps(stack.token())}, tmp_path))
    assert seen.get("status") in (200, 201), seen
    assert seen["body"]["number"] == 1
    assert seen["id"]


def test_page__in_a_real_browser__follows_a_turn_as_the_docs_say(stack: LocalStack, tmp_path: Path) -> None:
    (example,) = examples("docs/turns.md", "js")
    with Client(stack.url, stack.token()) as client:
        session, turn = client.create_session(), str(uuid4())
        client.begin_turn(session, turn)
        client.flush(session, turn, 1, ["Green", " or", " black? 折"])
        client.finish_turn(session, turn)
    told = {"TURN_URL": f"{stack.url}/sessions/{session}/turns/{turn}", "TOKEN": stack.token()}
    assert shown(FOLLOWER % {"told": json.dumps(told), "example": example.text}, tmp_path).splitlines() == [
        "1 Green", "2  or", "3  black? 折", "4 end",
    ]  # fmt: skip
