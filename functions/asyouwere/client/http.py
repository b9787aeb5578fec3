"""The HTTPS functions as a transport."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import quote

from asyouwere.client.errors import Unreachable
from asyouwere.client.requests import Requests
from asyouwere.client.transport import Begun, Delta, Flushed, Row, Saved, Snapshot, TurnLook
from asyouwere.state.exact_json import encode, items, members, parse

__all__ = ["HttpTransport"]

_STREAM: Final = {"Accept": "text/event-stream"}
_NESTING: Final = 1_000


def exact(body: bytes) -> dict[str, str]:
    """The members of an answer, each as the text that it is."""
    return members(parse(body, max_depth=_NESTING))


def optional(text: str) -> str | None:
    return None if text == "null" else text


class HttpTransport:
    """The functions at ``url``, the address under which ``sessions`` and the others stand."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def find_or_make(self, session: str | None, key: str | None, fields: Row) -> Row:
        if session is not None:
            return self._row(await self._requests.send("GET", f"/sessions/{quote(session, safe='')}"))
        given = {name: value for name, value in {"key": key, **fields}.items() if value is not None}
        return self._row(await self._requests.send("POST", "/sessions", text=encode(given)))

    async def change(self, session: str, fields: Row) -> Row:
        return self._row(await self._requests.send("PATCH", f"/sessions/{session}", text=encode(fields)))

    async def save(self, session: str, changes: str, base: int, key: str, label: str | None = None) -> Saved:
        labelled = "" if label is None else f',"label":{encode(label)}'
        body = await self._requests.send(
            "POST",
            "/session-snapshot-save",
            text=f'{{"session_id":"{session}","changes":{changes},"base":{base},"idempotency_key":"{key}"{labelled}}}',
        )
        return saved(body)

    async def restore(self, session: str, number: int | None = None, label: str | None = None) -> Snapshot:
        asked = {"session_id": session, "number": number or None, "label": label}
        text = encode({name: value for name, value in asked.items() if value is not None})
        told = exact(await self._requests.send("POST", "/session-snapshot-restore", text=text))
        return Snapshot(int(told["number"]), int(told["latest_number"]), json.loads(told["label"]), told["state"])

    async def changes(self, session: str, since: int) -> Delta:
        text = f'{{"session_id":"{session}","since":{since}}}'
        body = await self._requests.send("POST", "/session-snapshot-restore", text=text)
        told = exact(body)
        return Delta(int(told["number"]), optional(told["changes"]))

    async def snapshots(self, session: str, limit: int, before: int | None) -> list[Row]:
        found: list[Row] = []
        query: Row = {"limit": min(limit, 200)}
        while len(found) < limit:
            page = self._row(await self._requests.send("GET", f"/sessions/{session}/snapshots", query=query))
            found += [row for row in page["snapshots"] if before is None or row["number"] < before]
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        return found[:limit]

    async def diff(self, session: str, old: int, new: int) -> list[Row]:
        body = await self._requests.send("GET", f"/sessions/{session}/diff", query={"from": old, "to": new})
        rows: list[Row] = self._row(body)["differences"]
        return rows

    async def revert(self, session: str, number: int, key: str) -> Saved:
        text = f'{{"number":{number},"idempotency_key":"{key}"}}'
        return saved(await self._requests.send("POST", f"/sessions/{session}/revert", text=text))

    async def label(self, session: str, number: int, label: str | None) -> None:
        path = f"/sessions/{session}/snapshots/{number}/label"
        if label is None:
            await self._requests.send("DELETE", path)
        else:
            await self._requests.send("PUT", path, text=encode({"label": label}))

    async def fork(self, session: str, number: int | None, name: str | None, key: str | None) -> Row:
        given = {"number": number, "name": name, "key": key}
        text = encode({name: value for name, value in given.items() if value is not None})
        return self._row(await self._requests.send("POST", f"/sessions/{session}/fork", text=text))

    async def origin(self, session: str) -> Row:
        return self._row(await self._requests.send("GET", f"/sessions/{session}/origin"))

    async def merge(self, session: str, merging: Row) -> Saved:
        return saved(await self._requests.send("POST", f"/sessions/{session}/merge", text=encode(merging)))

    async def record_usage(self, session: str, usage: Row) -> Row:
        return self._row(await self._requests.send("POST", f"/sessions/{session}/usage", text=encode(usage)))

    async def usage(self, session: str, turn: str | None) -> Row:
        query = {} if turn is None else {"turn_id": turn}
        return self._row(await self._requests.send("GET", f"/sessions/{session}/usage", query=query))

    async def set_budget(self, session: str, budget: float | None) -> Row:
        text = encode({"budget": budget})
        return self._row(await self._requests.send("PUT", f"/sessions/{session}/budget", text=text))

    async def export(self, session: str, format: str) -> bytes:
        query = {"format": format}
        return await self._requests.send("GET", f"/sessions/{session}/export", query=query, is_json=False)

    # -- turns -----------------------------------------------------------------------------------------------------

    async def begin_turn(self, session: str, turn: str, lease: int, message: str | None, join: bool) -> Begun:
        more = ("" if message is None else f',"message":{message}') + (',"on_running":"join"' if join else "")
        text = f'{{"turn_id":{encode(turn)},"lease_seconds":{lease}{more}}}'
        told = self._row(await self._requests.send("POST", f"/sessions/{session}/turns", text=text))
        return Begun(told["id"], told["status"], told["next_seq"], told["created"])

    async def flush(self, session: str, turn: str, first: int, chunks: str) -> Flushed:
        told = self._row(
            await self._requests.send(
                "POST",
                f"{_turn(session, turn)}/chunks",
                text=f'{{"from_seq":{first},"chunks":{chunks}}}',
            )
        )
        return Flushed(told["next_seq"], told["stop"])

    async def finish_turn(
        self, session: str, turn: str, message: str | None, changes: str | None, status: str
    ) -> Saved:
        more = ("" if message is None else f',"message":{message}') + (
            "" if changes is None else f',"changes":{changes}'
        )
        text = f'{{"status":"{status}"{more}}}'
        return saved(
            await self._requests.send("POST", f"/sessions/{session}/turns/{quote(turn, safe='')}/finish", text=text)
        )

    async def stop_turn(self, session: str, turn: str) -> None:
        await self._requests.send("POST", f"{_turn(session, turn)}/stop")

    async def look(self, session: str, turn: str, after: int) -> TurnLook:
        path = _turn(session, turn)
        return turn_look(exact(await self._requests.send("GET", path, query={"after": after})))

    async def latest(self, session: str, after: int) -> TurnLook | None:
        answer = await self._requests.send("GET", f"/sessions/{session}/turns/latest", query={"after": after})
        return None if answer == b"null" else turn_look(exact(answer))

    async def follow(self, session: str, turn: str, after: int) -> AsyncIterator[TurnLook]:
        """The event stream, connected again where it broke off or came to the end of its five minutes."""
        path = _turn(session, turn)
        while True:
            over: dict[str, str] | None = None
            try:
                async with self._requests.stream(path, {**_STREAM, "Last-Event-ID": str(after)}) as lines:
                    async for kind, data in events(lines):
                        if kind == "error":
                            break
                        if kind == "end":
                            over = members(parse(data.encode(), max_depth=_NESTING))
                            break
                        after += 1
                        yield _chunk(turn, parse(data.encode(), max_depth=_NESTING), after)
            except Unreachable:
                pass
            if over is not None:
                yield _end(over, after)
                return
            look = await self.look(session, turn, after)
            yield look
            after = look.next_seq - 1
            if look.status != "running" and not look.more:
                return

    async def close(self) -> None:
        await self._requests.close()

    @staticmethod
    def _row(body: bytes) -> Row:
        row: Row = json.loads(body)
        return row


def _turn(session: str, turn: str) -> str:
    """A turn's address; its name may be anything, as the app's users may give it."""
    return f"/sessions/{session}/turns/{quote(turn, safe='')}"


def saved(body: bytes) -> Saved:
    """A save's answer; what others did keeps its spelling."""
    told: dict[str, Any] = json.loads(body)
    others = None if told["others"] is None else exact(body)["others"]
    return Saved(told["number"], told["created"], told["replayed"], others)


def turn_look(told: dict[str, str]) -> TurnLook:
    """A look at a turn, from the members of the answer."""
    return TurnLook(
        id=json.loads(told["id"]),
        status=json.loads(told["status"]),
        chunks=items(told["chunks"]),
        first_seq=int(told["first_seq"]),
        next_seq=int(told["next_seq"]),
        more=told["more"] == "true",
        stop_requested=told["stop_requested"] == "true",
        number=json.loads(told["number"]),
        position=json.loads(told["position"]),
    )


def _chunk(turn: str, text: str, seq: int) -> TurnLook:
    return TurnLook(turn, "running", [text], seq, seq + 1, False, False, None, None)


def _end(told: dict[str, str], after: int) -> TurnLook:
    number, position = json.loads(told["number"]), json.loads(told["position"])
    return TurnLook(
        json.loads(told["id"]), json.loads(told["status"]), [], after + 1, after + 1, False, False, number, position
    )


async def events(lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, str]]:
    """Kind and data of server-sent events; kind is "" for those that name none."""
    kind, data = "", ""
    async for line in lines:
        if line.startswith("data:"):
            data += line[5:].removeprefix(" ")
        elif line.startswith("event:"):
            kind = line[6:].strip()
        elif not line:
            if data:
                yield kind, data
            kind, data = "", ""
