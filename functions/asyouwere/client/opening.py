"""Opening a session: which way to the server, what the journal has, what the server has."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

import anyio

from asyouwere.client.autosave import Autosave
from asyouwere.client.background import Background
from asyouwere.client.context import last_messages
from asyouwere.client.document import Document
from asyouwere.client.endings import end_for
from asyouwere.client.errors import Expired, SchemaTooNew
from asyouwere.client.events import Events
from asyouwere.client.forking import watch
from asyouwere.client.journal import Found, Journal
from asyouwere.client.journal_file import default_folder, folder_named, journal_file
from asyouwere.client.record import Record
from asyouwere.client.replica import Replica
from asyouwere.client.rhythm import Rhythm
from asyouwere.client.session import Session
from asyouwere.client.stopping import asked_to_stop, release
from asyouwere.client.sync import VERSION, Sync, is_passing, tree_of_text
from asyouwere.client.tokens import Token, Tokens, claims_of
from asyouwere.client.tracked import plain
from asyouwere.client.transport import Row, Transport
from asyouwere.client.waking import backoff
from asyouwere.errors import AsYouWereError, NotFound, Unauthorized, from_code
from asyouwere.postgres.encryption import encrypted_or_here
from asyouwere.state.exact_json import encode
from asyouwere.state.rebasing import Doubt

if TYPE_CHECKING:
    import httpx

    from asyouwere.client.blocking import BlockingSession
    from asyouwere.client.encryption import Encryption
    from asyouwere.client.realtime import Realtime

__all__ = ["Opening", "Options"]

_LOG: Final = logging.getLogger("asyouwere")
#: How long opening waits for what clients that are gone have left to be sent.
_FINISHING_SECONDS: Final = 5.0
_BARE: Final = "The address has no path; that of the functions ends in /functions/v1."


@dataclass(frozen=True, slots=True)
class Options:
    """What ``asyouwere.open`` was given; see there."""

    url: str = field(repr=False)
    token: Token | None = field(default=None, repr=False)
    session: str | None = None
    key: str | None = None
    user_id: str | None = None
    api_key: str | None = field(default=None, repr=False)
    fields: Mapping[str, Any] = field(default_factory=dict)
    journal: Path | str | bool = True
    rhythm: Rhythm = field(default_factory=Rhythm)
    version: int | None = None
    migrate: Callable[[Any, int], Any] | None = None
    on_expired: Literal["stop", "new"] | int = "stop"
    resolve: Callable[[Doubt], Any] | None = None
    encryption: Encryption | None = None
    timeout: float = 30.0
    close_timeout: float = 10.0
    http: httpx.AsyncClient | None = field(default=None, repr=False)
    realtime: Realtime | None = field(default=None, repr=False)


class Opening:
    """What ``asyouwere.open`` returns: enter it with ``async with``, or with ``with`` where nothing is async."""

    def __init__(self, options: Options) -> None:
        if options.session is not None and options.key is not None:
            raise TypeError("say session=… or key=…, not both")
        self.key, self.session = options.key, options.session
        self._options = options
        self._stack: AsyncExitStack | None = None
        self._session: Session | None = None
        self._blocking: BlockingSession | None = None

    def __enter__(self) -> BlockingSession:
        self._blocking = self.start()
        return self._blocking

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._blocking is not None
        self._blocking.close()

    def start(self) -> BlockingSession:
        """Open it without a block, as a notebook does; ``close()`` or the end of the program closes it."""
        from asyouwere.client.blocking import opened

        if self._options.realtime is not None:
            raise TypeError("realtime=… belongs to a loop: async with asyouwere.open(…)")
        asked_to_stop()
        try:
            return opened(self)
        except BaseException:
            release()
            raise

    async def __aenter__(self) -> Session:
        stack = AsyncExitStack()
        asked_to_stop()
        stack.callback(release)
        try:
            session = await self._opened(stack)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await stack.aclose()
            raise
        self._stack, self._session = stack, session
        return session

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._stack is not None
        stack, self._stack = self._stack, None
        await stack.__aexit__(None, None, None)

    async def _opened(self, stack: AsyncExitStack) -> Session:
        options = self._options
        tokens = None if options.token is None else Tokens(options.token)
        transport = transport_for(options, tokens)
        stack.push_async_callback(transport.close)
        if options.encryption is not None:
            from asyouwere.client.sealing import SealingTransport

            transport = SealingTransport(transport, options.encryption)
        journal = await _journal_for(options, tokens)
        stack.callback(journal.close)
        row = await self._row(transport, journal)
        session_id = str(row["id"])
        stack.callback(journal.release)
        # newest first, but what the server has not got yet is to be seen at once
        found = sorted(journal.adopt(session_id), key=lambda one: not one.replica.is_waiting)
        document, events = Document(), Events()
        own = found.pop(0) if found else None
        replica = own.replica if own is not None else Replica()
        record = Record(journal, session_id, replica, own.client if own is not None else None)
        document.show(replica.local)
        replica.local = document.tree()
        sync = Sync(session_id, transport, replica, document, record, events, options.rhythm, options.resolve)
        group = Background()
        await group.open()
        stack.push_async_callback(group.close)
        await self._finish_others(sync, found, group, is_online="offline" not in row)
        await _restored(sync, row)
        sync.version = options.version
        if options.version is not None:
            await self._brought_up(sync, options.version)

        def let_go() -> None:
            for turn in sync.endings:  # closed before they were ended: the next one that is opened does it
                journal.end_turn(turn, is_saved=False)

        stack.callback(let_go)
        session = Session(sync, row, group, tokens)
        watch(session)
        stack.push_async_callback(self._close, session)
        if options.on_expired != "stop":
            events.on("expired", lambda _: group.start_soon(self._begin_anew, sync))
            if row.get("expired_at") is not None and sync.document.root:
                await self._emptied(sync)
        elif row.get("expired_at") is not None:
            events.tell("expired", session=session_id)
        for turn, chunks in journal.adopt_turns(session_id).items():
            sync.endings[turn] = anyio.Event()  # before the app can begin one
            group.start_soon(end_for, sync, turn, chunks)
        for client in journal.unreadable:
            events.tell("error", code="journal_record", record=client)
        Autosave(sync).run(group, options.realtime)
        group.start_soon(events.release)  # once the app has had a moment to listen
        return session

    async def _finish_others(self, sync: Sync, found: list[Found], group: Background, *, is_online: bool) -> None:
        """Send what other clients that are gone have left; waited for a moment, so that the app sees it from the
        start."""
        journal = sync.record.journal
        endings = []
        for other in found:
            if other.replica.is_waiting:
                ended = anyio.Event()
                record = Record(journal, sync.session, other.replica, other.client)
                group.start_soon(_finish, sync, record, other.replica, ended)
                endings.append(ended)
            else:
                journal.forget(other.client)
        with anyio.move_on_after(_FINISHING_SECONDS if is_online else 0):
            for ended in endings:
                await ended.wait()

    async def _brought_up(self, sync: Sync, version: int) -> None:
        """The state as this version of the app has it; an older one is migrated, and stays under a label."""
        root = sync.document.root
        if not root:
            return
        found = root.get(VERSION, 1)
        if not isinstance(found, int) or found > version:
            sync.is_read_only, sync.document.refusal = True, SchemaTooNew
            return
        if found == version or self._options.migrate is None:
            return
        sync.version = None
        before = await sync.save()
        with suppress(AsYouWereError):  # labelled by who did the same at the same time
            await sync.transport.label(sync.session, before, f"before version {version}")
        with sync.document.lock:
            made = self._options.migrate(root, found)
            if isinstance(made, Mapping) and made is not root:
                sync.document.set("", made)
        root[VERSION] = version
        sync.version = version
        await sync.save()

    async def _emptied(self, sync: Sync) -> None:
        """A clean start in an expired session, whose history stays."""
        carried = self._carried(sync)
        sync.document.set("", carried)
        with suppress(AsYouWereError):
            await sync.save()
        sync.events.tell("expired", session=sync.session, new=sync.session)

    def _carried(self, sync: Sync) -> dict[str, Any]:
        """What a new session begins with."""
        last = self._options.on_expired
        messages = sync.document.root.get("messages")
        if isinstance(last, str) or not isinstance(messages, list) or not messages:
            return {}
        return {"messages": last_messages(plain(messages), last)}

    async def _begin_anew(self, sync: Sync) -> None:
        """The session is gone: another one in its place."""
        options, old = self._options, sync.session
        carried = tree_of_text(encode(self._carried(sync)))
        failures = 0
        while True:
            try:
                row = await sync.transport.find_or_make(None, options.key, dict(options.fields))
                break
            except AsYouWereError as exc:
                if not is_passing(exc):
                    sync.events.tell("error", code=exc.code)
                    return
                failures += 1
                await anyio.sleep(backoff(failures, exc.retry_after))
        replica, journal = Replica(), sync.record.journal
        sync.begin_anew(str(row["id"]), Record(journal, str(row["id"]), replica), replica, carried)
        journal.remember(sync.session, options.key)
        sync.events.tell("restored", source="new", number=0, instead_of=old)

    async def _row(self, transport: Transport, journal: Journal) -> Row:
        """The session's row; of one that was open here before, also without the server."""
        options = self._options
        try:
            row = await transport.find_or_make(options.session, options.key, dict(options.fields))
        except AsYouWereError as exc:
            if not isinstance(exc, NotFound):
                known = journal.session_of(options.session or options.key)
                if known is None or not is_passing(exc) or isinstance(exc, Unauthorized):
                    raise
                return {"id": known, "key": options.key, "offline": exc}
            if exc.code != "session_not_found":
                if urlsplit(options.url).path in ("", "/"):
                    raise from_code(exc.code, f"{exc} {_BARE}") from exc
                raise
            if options.on_expired == "stop":
                raise Expired from exc
            row = await transport.find_or_make(None, options.key, dict(options.fields))
        journal.remember(str(row["id"]), options.key)
        return row

    async def _close(self, session: Session) -> None:
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + self._options.close_timeout):
            await session.close()
        session._is_closed = True


async def _restored(sync: Sync, row: Row) -> None:
    """What the server has, under what the journal has; without the server, what the journal has alone."""
    offline: AsYouWereError | None = row.pop("offline", None)
    try:
        if offline is not None:
            raise offline
        if sync.replica.number or sync.replica.is_waiting:
            if sync.replica.sending is not None or sync.replica.written is not None:
                try:
                    await sync.save()  # that has to be answered before
                except AsYouWereError as exc:
                    if is_passing(exc):
                        raise
            await sync.catch_up()
        elif row.get("latest_number"):
            sync.take(await sync.transport.restore(sync.session))
    except AsYouWereError as exc:
        if not is_passing(exc) or not (sync.replica.number or sync.replica.is_waiting or offline is not None):
            raise
        sync._failed(exc)
        sync.events.tell("restored", source="journal", number=sync.replica.number)
        return
    sync.is_restored = True
    sync.events.tell("restored", source="server", number=sync.replica.number)


async def _finish(sync: Sync, record: Record, replica: Replica, ended: anyio.Event) -> None:
    """Send what a client that is gone has begun, in its name; then see it as everybody does."""
    document = Document()
    document.show(replica.local)
    replica.local = document.tree()
    theirs = Sync(sync.session, sync.transport, replica, document, record, Events(), Rhythm(poll=None))
    while True:
        try:
            await theirs.save()
        except AsYouWereError as exc:
            if is_passing(exc):
                await anyio.sleep(backoff(theirs.failures, exc.retry_after))
                continue
            record.journal.set_aside(record.client)
            sync.events.tell("error", code=exc.code, record=record.client)
        else:
            record.journal.forget(record.client)
        ended.set()
        return


async def _journal_for(options: Options, tokens: Tokens | None) -> Journal:
    if options.journal is False:
        return Journal(None)
    folder = folder_named(default_folder() if options.journal is True else options.journal)
    user = options.user_id
    if user is None and tokens is not None:
        user = str(claims_of(await tokens.current()).get("sub") or "")
    split = urlsplit(options.url)
    return Journal(journal_file(folder, f"{split.hostname}:{split.port or ''}{split.path}", user or ""))


@functools.cache
def _ssl_context() -> Any:
    import httpx

    return httpx.create_ssl_context()


def transport_for(options: Options, tokens: Tokens | None) -> Transport:
    """The way that an address names: ``postgresql://`` Postgres itself, ``…/rest/v1`` or a Supabase project
    PostgREST, everything else the functions."""
    split = urlsplit(options.url)
    if split.scheme in ("postgresql", "postgres"):
        from asyouwere.client.postgres import PostgresTransport

        if options.user_id is None:
            raise TypeError("a postgresql:// address needs user_id=…, whose sessions they are")
        return PostgresTransport(options.url, options.user_id, timeout=options.timeout)
    if split.scheme not in ("http", "https"):
        raise ValueError("url is https://… (functions, or a Supabase project) or postgresql://…")
    if not encrypted_or_here(options.url):
        _LOG.warning("the token and all that is saved travel in clear: use https://")
    import httpx

    from asyouwere.client.requests import Requests

    client = options.http or httpx.AsyncClient(verify=_ssl_context(), timeout=options.timeout)
    is_project = split.path in ("", "/") and (
        options.api_key is not None or (split.hostname or "").endswith((".supabase.co", ".supabase.in"))
    )
    if is_project or split.path.rstrip("/").endswith("/rest/v1"):
        from asyouwere.client.postgrest import PostgrestTransport

        base = options.url.rstrip("/") + ("/rest/v1" if is_project else "")
        headers = {} if options.api_key is None else {"apikey": options.api_key}
        return PostgrestTransport(Requests(base, tokens, headers=headers, client=client, own=options.http is None))
    from asyouwere.client.http import HttpTransport

    return HttpTransport(Requests(options.url, tokens, client=client, own=options.http is None))
