"""A transport whose server sees sealed values alone: parts, items and chunks are sealed here and opened here.

What a save changes is sealed once, by ``sealed_changes``, and that text is kept for asking again: sealing anew would
give other tokens, and another request under the same key.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from asyouwere.client.encryption import Encryption
from asyouwere.client.errors import Tampered
from asyouwere.client.transport import Begun, Delta, Flushed, Row, Saved, Snapshot, Transport, TurnLook
from asyouwere.state.addresses import OPENED_DEPTH, depth_of, last_key, parent_of, path_of_text, pointer_of
from asyouwere.state.exact_json import encode, items, members, parse
from asyouwere.state.rows import open_state
from asyouwere.state.tree import Tree, open_tree, render, tree_of_rows

__all__ = ["SealingTransport"]

_MESSAGES = "/messages"


class SealingTransport:
    """The same as the transport inside, for values that it does not understand."""

    def __init__(self, inner: Transport, encryption: Encryption) -> None:
        self._inner = inner
        self._encryption = encryption

    # -- sealing ---------------------------------------------------------------------------------------------------

    def sealed_changes(self, session: str, changes: str, after: dict[str, Tree]) -> str:
        """The text of changes with their values sealed. after: the state that they lead to."""
        told = members(changes)
        sealed = []
        if "set" in told:
            places = [
                f'"{pointer}":{self._sealed_value(session, path_of_text(pointer), body, after)}'
                for pointer, body in members(told["set"]).items()
            ]
            sealed.append(f'"set":{{{",".join(places)}}}')
        if "append" in told:
            places = [
                f'"{pointer}":[{",".join(self._sealed_items(session, path_of_text(pointer), items(text)))}]'
                for pointer, text in members(told["append"]).items()
            ]
            sealed.append(f'"append":{{{",".join(places)}}}')
        if "remove" in told:
            sealed.append(f'"remove":{told["remove"]}')
        return f"{{{','.join(sealed)}}}"

    def _sealed_value(self, session: str, path: str, body: str, after: dict[str, Tree]) -> str:
        if path == "/":
            rows = open_state(body)
            return render(self._sealed_tree(session, path, tree_of_rows(rows, 0, len(rows))))
        holder: Tree | None = after
        for key in parent_of(path)[1:-1].split("/") if path.count("/") > 2 else ():
            holder = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(holder, list):
            return self._sealed_item(session, parent_of(path), body)
        return render(self._sealed_tree(session, path, open_tree(body, path)))

    def _sealed_tree(self, session: str, path: str, tree: Tree) -> Tree:
        if isinstance(tree, str):
            return self._encryption.seal("part", session, pointer_of(path), tree)
        if isinstance(tree, list):
            return self._sealed_items(session, path, tree)
        return {key: self._sealed_tree(session, f"{path}{key}/", inner) for key, inner in tree.items()}

    def _sealed_items(self, session: str, path: str, bodies: list[str]) -> list[str]:
        return [self._sealed_item(session, path, body) for body in bodies]

    def _sealed_item(self, session: str, path: str, body: str) -> str:
        return f'{{"encrypted":{self._encryption.seal("item", session, pointer_of(path), body)}}}'

    # -- opening ---------------------------------------------------------------------------------------------------

    def _opened_tree(self, session: str, path: str, tree: Tree, seen: set[bytes]) -> Tree:
        if isinstance(tree, str):
            return self._opened_part(session, path, tree, seen)
        if isinstance(tree, list):
            return [self._opened_item(session, path, body, seen) for body in tree]
        return {key: self._opened_tree(session, f"{path}{key}/", inner, seen) for key, inner in tree.items()}

    def _opened_part(self, session: str, path: str, body: str, seen: set[bytes]) -> str:
        if body.startswith('"ayw1.'):
            return self._opened("part", session, pointer_of(path), body, seen)
        if self._encryption.allow_plain:
            return body
        raise Tampered

    def _opened_item(self, session: str, path: str, body: str, seen: set[bytes]) -> str:
        token = _token_of(body)
        if token is not None:
            return self._opened("item", session, pointer_of(path), token, seen)
        if self._encryption.allow_plain:
            return body
        raise Tampered

    def _opened(self, kind: str, session: str, place: str, token: str, seen: set[bytes] | None) -> str:
        text = self._encryption.open(kind, session, place, json.loads(token), seen)
        return parse(text.encode(), max_depth=1_000)

    def _opened_delta(self, session: str, text: str) -> str:
        told, seen = members(text), set[bytes]()
        places = []
        for pointer, body in members(told["set"]).items():
            path = path_of_text(pointer)
            if body not in ("{}", "[]") or depth_of(path) >= OPENED_DEPTH:
                if _token_of(body) is not None or (last_key(path).isdecimal() and not body.startswith('"ayw1.part')):
                    body = self._opened_item(session, parent_of(path), body, seen)
                else:
                    body = self._opened_part(session, path, body, seen)
            places.append(f'"{pointer}":{body}')
        return f'{{"set":{{{",".join(places)}}},"remove":{told["remove"]}}}'

    def _opened_saved(self, session: str, saved: Saved) -> Saved:
        return saved if saved.others is None else replace(saved, others=self._opened_delta(session, saved.others))

    def _opened_look(self, session: str, look: TurnLook) -> TurnLook:
        chunks = []
        for seq, body in enumerate(look.chunks, look.first_seq):
            token = _token_of(body)
            if token is None and not self._encryption.allow_plain:
                raise Tampered
            chunks.append(body if token is None else self._opened("chunk", session, f"{look.id} {seq}", token, None))
        return replace(look, chunks=chunks)

    # -- the transport ---------------------------------------------------------------------------------------------

    async def find_or_make(self, session: str | None, key: str | None, fields: Row) -> Row:
        return await self._inner.find_or_make(session, key, fields)

    async def change(self, session: str, fields: Row) -> Row:
        return await self._inner.change(session, fields)

    async def save(self, session: str, changes: str, base: int, key: str, label: str | None = None) -> Saved:
        return self._opened_saved(session, await self._inner.save(session, changes, base, key, label))

    async def restore(self, session: str, number: int | None = None, label: str | None = None) -> Snapshot:
        snapshot = await self._inner.restore(session, number, label)
        rows = open_state(snapshot.state)
        tree = self._opened_tree(session, "/", tree_of_rows(rows, 0, len(rows)), set())
        return replace(snapshot, state=render(tree))

    async def changes(self, session: str, since: int) -> Delta:
        delta = await self._inner.changes(session, since)
        return delta if delta.changes is None else replace(delta, changes=self._opened_delta(session, delta.changes))

    async def snapshots(self, session: str, limit: int, before: int | None) -> list[Row]:
        return await self._inner.snapshots(session, limit, before)

    async def diff(self, session: str, old: int, new: int) -> list[Row]:
        rows = await self._inner.diff(session, old, new)
        return [
            {**row, **{name: self._opened_member(session, row["address"], row[name]) for name in ("before", "after")}}
            for row in rows
        ]

    def _opened_member(self, session: str, pointer: str, value: Any) -> Any:
        if value is None or value in ({}, []):
            return value
        path, body = path_of_text(encode(pointer)[1:-1]), encode(value)
        if _token_of(body) is not None:
            return json.loads(self._opened_item(session, parent_of(path), body, set()))
        return json.loads(self._opened_part(session, path, body, set()))

    async def revert(self, session: str, number: int, key: str) -> Saved:
        return self._opened_saved(session, await self._inner.revert(session, number, key))

    async def label(self, session: str, number: int, label: str | None) -> None:
        await self._inner.label(session, number, label)

    async def fork(self, session: str, number: int | None, name: str | None, key: str | None) -> Row:
        return await self._inner.fork(session, number, name, key)

    async def origin(self, session: str) -> Row:
        return await self._inner.origin(session)

    async def merge(self, session: str, merging: Row) -> Saved:
        return await self._inner.merge(session, merging)

    async def record_usage(self, session: str, usage: Row) -> Row:
        return await self._inner.record_usage(session, usage)

    async def usage(self, session: str, turn: str | None) -> Row:
        return await self._inner.usage(session, turn)

    async def set_budget(self, session: str, budget: float | None) -> Row:
        return await self._inner.set_budget(session, budget)

    async def export(self, session: str, format: str) -> bytes:
        return await self._inner.export(session, format)

    async def begin_turn(self, session: str, turn: str, lease: int, message: str | None, join: bool) -> Begun:
        return await self._inner.begin_turn(session, turn, lease, None, join)

    async def flush(self, session: str, turn: str, first: int, chunks: str) -> Flushed:
        sealed = [
            f'{{"encrypted":{self._encryption.seal("chunk", session, f"{turn} {seq}", body)}}}'
            for seq, body in enumerate(items(chunks), first)
        ]
        return await self._inner.flush(session, turn, first, f"[{','.join(sealed)}]")

    async def finish_turn(
        self, session: str, turn: str, message: str | None, changes: str | None, status: str
    ) -> Saved:
        sealed = None if message is None else self._sealed_item(session, f"{_MESSAGES}/", message)
        saved = await self._inner.finish_turn(session, turn, sealed, changes, status)
        return self._opened_saved(session, saved)

    async def stop_turn(self, session: str, turn: str) -> None:
        await self._inner.stop_turn(session, turn)

    async def look(self, session: str, turn: str, after: int) -> TurnLook:
        return self._opened_look(session, await self._inner.look(session, turn, after))

    async def latest(self, session: str, after: int) -> TurnLook | None:
        look = await self._inner.latest(session, after)
        return None if look is None else self._opened_look(session, look)

    def follow(self, session: str, turn: str, after: int) -> AsyncIterator[TurnLook] | None:
        looks = self._inner.follow(session, turn, after)
        return None if looks is None else self._opened_looks(session, looks)

    async def _opened_looks(self, session: str, looks: AsyncIterator[TurnLook]) -> AsyncIterator[TurnLook]:
        async for look in looks:
            yield self._opened_look(session, look)

    async def close(self) -> None:
        await self._inner.close()


def _token_of(body: str) -> str | None:
    """The token, with quotes, of an item or a chunk."""
    if not body.startswith('{"encrypted":"ayw1.'):
        return None
    inside = members(body)
    return inside["encrypted"] if len(inside) == 1 else None
