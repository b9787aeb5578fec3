"""The functions as an app calls them: JSON over HTTP, with a token, and a clock beside it."""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import Any

import httpx

TIMEOUT_SECONDS = 30.0


class Refused(Exception):
    """The functions answered with a problem: its HTTP status, our code, and all it says."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", ""))
        self.problem = problem
        super().__init__(f"{status} {self.code}: {problem.get('detail', '')}")


class Client:
    """One device of one user, with a connection of its own that is kept open between calls.

    After each call ``took_ms`` is its time in milliseconds, as the app feels it (writing and reading the JSON
    included), ``sent_bytes`` and ``received_bytes`` the sizes of the two bodies.
    Raises Refused for a problem and httpx.TransportError when no answer came.
    """

    def __init__(self, url: str, token: str) -> None:
        # trust_env: a proxy of the person's shell has no way to this machine.
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
        )
        self.took_ms = 0.0
        self.sent_bytes = 0
        self.received_bytes = 0

    def create_session(self, **fields: Any) -> str:
        """Make a session; its id."""
        return str(self._call("POST", "/sessions", fields)["id"])

    def save(self, session_id: str, **fields: Any) -> dict[str, Any]:
        """Save ``state`` or ``changes``; further fields: base, idempotency_key, label, on_conflict."""
        return self._call("POST", "/session-snapshot-save", {"session_id": session_id, **fields})

    def restore(self, session_id: str, **which: Any) -> dict[str, Any]:
        """The latest snapshot, or one by ``number`` or ``label``; with ``since`` only the changes."""
        return self._call("POST", "/session-snapshot-restore", {"session_id": session_id, **which})

    def snapshots(self, session_id: str) -> list[dict[str, Any]]:
        """All snapshots of a session without their content, newest first, read page by page."""
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {"limit": 200}
        while True:
            page = self._call("GET", f"/sessions/{session_id}/snapshots", query=query)
            found += page["snapshots"]
            if page["next"] is None:
                return found
            query["cursor"] = page["next"]

    def diff(self, session_id: str, before: int, after: int) -> list[dict[str, Any]]:
        """What differs between two snapshots, by address."""
        path = f"/sessions/{session_id}/diff"
        rows: list[dict[str, Any]] = self._call("GET", path, query={"from": before, "to": after})[
            "differences"
        ]
        return rows

    def begin_turn(self, session_id: str, turn_id: str, **fields: Any) -> dict[str, Any]:
        """Claim the session for an answer; field: lease_seconds."""
        return self._call("POST", f"/sessions/{session_id}/turns", {"turn_id": turn_id, **fields})

    def flush(self, session_id: str, turn_id: str, from_seq: int, chunks: list[Any]) -> dict[str, Any]:
        """Add chunks to an answer."""
        body = {"from_seq": from_seq, "chunks": chunks}
        return self._call("POST", f"/sessions/{session_id}/turns/{turn_id}/chunks", body)

    def finish_turn(self, session_id: str, turn_id: str) -> dict[str, Any]:
        """Make the chunks a message."""
        return self._call("POST", f"/sessions/{session_id}/turns/{turn_id}/finish", {})

    def turn(self, session_id: str, turn_id: str) -> dict[str, Any]:
        """How far an answer is."""
        return self._call("GET", f"/sessions/{session_id}/turns/{turn_id}")

    def messages(self, session_id: str) -> list[dict[str, Any]]:
        """The messages of a session, as they stand in its state; at most 200."""
        page = self._call("GET", f"/sessions/{session_id}/messages", query={"limit": 200})
        return [message["body"] for message in page["messages"]]

    def clean_up(self, *, keep: int, older_than_seconds: int) -> dict[str, Any]:
        """Remove old snapshots of all sessions; needs a token of the service role."""
        return self._call(
            "POST", "/cleanup-old-snapshots", {"keep": keep, "older_than_seconds": older_than_seconds}
        )

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        query: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        begin = time.perf_counter()
        content = None if body is None else json_bytes(body)
        headers = {} if content is None else {"Content-Type": "application/json"}
        response = self._http.request(method, path, content=content, headers=headers, params=query)
        answer: dict[str, Any] = json.loads(response.content)
        self.took_ms = (time.perf_counter() - begin) * 1000
        self.sent_bytes = len(content or b"")
        self.received_bytes = len(response.content)
        if response.status_code >= 400:
            raise Refused(response.status_code, answer)
        return answer


def json_bytes(value: Any) -> bytes:
    """The value as UTF-8 JSON, as browsers write it: of the text only lone surrogates are escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
