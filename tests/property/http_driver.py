"""The HTTP functions on a loopback port, called as a signed-in person; cleaned up as the service.

Every JSON that is sent is spelled in another way first (whitespace, escapes), because it must not matter.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import time
import uuid
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from tests.functions.api import BASE, serving, settings_for, token_for
from tests.property.drivers import Difference, Handle, Refusal, Restored, Snapshot, Unanswered
from tests.property.exact import dump, parse, respell
from tests.property.model import Operation
from tests.support.database import Db

SAVED = ("number", "created", "replayed", "merged", "changed_parts", "size_bytes", "message_count")
TEXTS = ("others", "existing")


class HttpDriver:
    """One connection for the person, kept alive, and one for the service."""

    name = "http"
    lowest_number = 1

    def __init__(self, url: str, person: str) -> None:
        self._address = urlsplit(url).netloc
        self._person = person
        self._tokens = {False: token_for(person), True: token_for("scheduler", "service_role")}
        self._connections: dict[bool, tuple[http.client.HTTPConnection, float]] = {}

    def another(self) -> HttpDriver:
        """The same person on connections of their own."""
        return HttpDriver(f"http://{self._address}", self._person)

    def close(self) -> None:
        """Close the connections."""
        for connection, _ in self._connections.values():
            connection.close()

    # -- requests ----------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        body: str | None = None,
        *,
        as_service: bool = False,
        key: str | None = None,
    ) -> str:
        """The text of the answer. Raises Refusal for a problem, Unanswered for none, 503 or 504; a problem
        with status 500 is no refusal."""
        connection = self._connection(as_service)
        headers = {"Authorization": f"Bearer {self._tokens[as_service]}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        answer: http.client.HTTPResponse | None = None
        try:
            connection.request(method, f"{BASE}/{path}", None if body is None else body.encode(), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as exc:
            self._connections.pop(as_service)[0].close()
            if answer is not None:
                answer.close()  # cut in the middle, it would hold the socket
            raise Unanswered(f"{type(exc).__name__}: {exc}") from exc
        if answer.status >= 400:
            problem = json.loads(text)
            if problem["code"] in ("database_unavailable", "timeout"):
                assert answer.getheader("Retry-After"), f"{answer.status} does not say when to try again"
                raise Unanswered(text, answer.status)
            if answer.status >= 500:
                raise AssertionError(f"{answer.status} {method} {path}: {text}")
            raise Refusal(problem["code"], problem, problem["detail"])
        return text

    def _connection(self, as_service: bool) -> http.client.HTTPConnection:
        # the server closes connections that were idle for 5 seconds
        connection, used = self._connections.get(as_service, (None, 0.0))
        if connection is None or time.monotonic() - used > 2:
            if connection is not None:
                connection.close()
            connection = http.client.HTTPConnection(self._address, timeout=60)
        self._connections[as_service] = connection, time.monotonic()
        return connection

    def _post(self, path: str, fields: dict[str, Any], *, as_service: bool = False, key: str | None = None) -> str:
        """POST an object of JSON texts, in a spelling that follows from the content; None is left out."""
        body = "{" + ",".join(f"{json.dumps(n)}:{text}" for n, text in fields.items() if text is not None) + "}"
        return self.request("POST", path, respell(body, zlib.crc32(body.encode())), as_service=as_service, key=key)

    # -- what a driver does --------------------------------------------------------------------------------

    def new_session(self) -> Handle:
        return str(json.loads(self._post("sessions", {}))["id"])

    def save(self, session: Handle, op: Operation) -> dict[str, Any]:
        # the key travels in the body or in the header, which takes ASCII only
        in_header = op["way"] == 1 and op["key"] is not None and op["key"].isascii()
        fields = {
            "session_id": dump(session),
            "state": op.get("state"),
            "changes": op.get("changes"),
            "base": _optional(op["base"]),
            "idempotency_key": None if in_header else _optional(op["key"]),
            "label": _optional(op["label"]),
            "on_conflict": dump(op["on_conflict"]),
        }
        return _saved(self._post("session-snapshot-save", fields, key=op["key"] if in_header else None))

    def append_messages(self, session: Handle, op: Operation) -> dict[str, Any]:
        fields = {"messages": f"[{','.join(op['items'])}]", "idempotency_key": _optional(op["key"])}
        return dict(json.loads(self._post(f"sessions/{session}/messages", fields)))

    def revert(self, session: Handle, op: Operation) -> dict[str, Any]:
        fields = {"number": str(op["number"]), "idempotency_key": _optional(op["key"])}
        return _saved(self._post(f"sessions/{session}/revert", fields))

    def label(self, session: Handle, number: int, label: str | None) -> None:
        path = f"sessions/{session}/snapshots/{number}/label"
        if label is None:
            self.request("DELETE", path)
        else:
            row = json.loads(self.request("PUT", path, json.dumps({"label": label})))
            assert (row["number"], row["label"]) == (number, label)

    def fork(self, session: Handle, number: int) -> Handle:
        return str(json.loads(self._post(f"sessions/{session}/fork", {"number": str(number)}))["id"])

    def export(self, session: Handle) -> str:
        return self.request("GET", f"sessions/{session}/export")

    def import_(self, document: str) -> Handle:
        return str(json.loads(self.request("POST", "sessions/import", document))["id"])

    def prune(self, keep: int, batch: int) -> int:
        fields = {"keep": str(keep), "older_than_seconds": "0", "max_sessions": str(batch)}
        answer = json.loads(self._post("cleanup-old-snapshots", fields, as_service=True))
        assert answer["done"]
        return int(answer["snapshots"])

    def restore(self, session: Handle, number: int | None = None, label: str | None = None) -> Restored:
        fields = {"session_id": dump(session), "number": _optional(number), "label": _optional(label)}
        text = self._post("session-snapshot-restore", fields)
        members = dict(parse(text))
        row = {**json.loads(text), "state": dump(members["state"])}
        return Restored(**{name: row[name] for name in Restored.__dataclass_fields__})

    def changes(self, session: Handle, since: int) -> tuple[int, bool, str | None]:
        text = self._post("session-snapshot-restore", {"session_id": dump(session), "since": str(since)})
        members = dict(parse(text))
        changes = None if members["changes"] is None else dump(members["changes"])
        return int(members["number"]), members["reset"], changes

    def diff(self, session: Handle, one: int, other: int) -> list[Difference]:
        rows = dict(parse(self.request("GET", f"sessions/{session}/diff?from={one}&to={other}")))
        found = []
        for row in map(dict, rows["differences"]):
            # null stands for "nothing there" as well as for itself; the kind of change tells them apart
            before = None if row["change"] == "added" else dump(row["before"])
            after = None if row["change"] == "removed" else dump(row["after"])
            found.append(Difference(row["address"], row["change"], before, after))
        return found

    def snapshots(self, session: Handle) -> list[Snapshot]:
        found: list[Snapshot] = []
        query = "limit=7"
        while True:
            page = json.loads(self.request("GET", f"sessions/{session}/snapshots?{query}"))
            found += [Snapshot(**{n: row[n] for n in Snapshot.__dataclass_fields__}) for row in page["snapshots"]]
            if page["next"] is None:
                return found
            query = f"limit=7&cursor={page['next']}"

    def messages(self, session: Handle) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        after = -1
        while True:
            page = dict(parse(self.request("GET", f"sessions/{session}/messages?after={after}&limit=5")))
            found += [(int(row["position"]), dump(row["body"])) for row in map(dict, page["messages"])]
            if page["next"] is None:
                return found
            after = int(page["next"])

    def delete(self, session: Handle) -> None:
        self.request("DELETE", f"sessions/{session}")


@contextlib.contextmanager
def http_driver(db: Db, **settings: Any) -> Iterator[HttpDriver]:
    """A driver with a server of its own before a database."""
    with serving(settings_for(db.api_dsn, **settings)) as url:
        driver = HttpDriver(url, str(db.user(f"property {uuid.uuid4()}")))
        yield driver
        driver.close()


def _optional(value: str | int | None) -> str | None:
    return None if value is None else str(value) if isinstance(value, int) else dump(value)


def _saved(text: str) -> dict[str, Any]:
    row = json.loads(text)
    exact = dict(parse(text))
    texts = {name: None if exact[name] is None else dump(exact[name]) for name in TEXTS}
    return {**{name: row[name] for name in SAVED}, **texts}
