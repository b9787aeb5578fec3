"""The same session where nothing is async: scripts, notebooks, workers with threads.

One thread runs the loop of all sessions; calls wait for it. ``state`` is changed from the app's own thread.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from asyouwere.client.following import Progress
from asyouwere.client.forking import forked
from asyouwere.client.session import Session
from asyouwere.client.stopping import release
from asyouwere.client.stream_events import text_of_event
from asyouwere.client.tracked import TrackedDict
from asyouwere.client.turns import Turn
from asyouwere.errors import AsYouWereError

if TYPE_CHECKING:
    from decimal import Decimal

    from asyouwere.client.events import Event, EventName, Statistics, Status
    from asyouwere.client.transport import Row

__all__ = ["BlockingSession", "BlockingTurn", "opened"]

_T = TypeVar("_T")
#: Also those that the app has dropped, as a notebook's cell that is run again does: they are saved at the end.
_OPEN: Final[set[BlockingSession]] = set()


class _Loop:
    """The thread with the loop, started on first use; a child process after a fork has its own."""

    _guard = threading.Lock()
    _portal: BlockingPortal | None = None
    _process = 0

    @classmethod
    def portal(cls) -> BlockingPortal:
        with cls._guard:
            if cls._portal is None or cls._process != os.getpid():
                ready = threading.Event()
                threading.Thread(target=anyio.run, args=(cls._run, ready), name="asyouwere", daemon=True).start()
                ready.wait()
                cls._process = os.getpid()
            assert cls._portal is not None
            return cls._portal

    @classmethod
    async def _run(cls, ready: threading.Event) -> None:
        async with BlockingPortal() as portal:
            cls._portal = portal
            ready.set()
            await portal.sleep_until_stopped()


def opened(opening: Any) -> BlockingSession:
    """Enter what ``asyouwere.open`` returns, in the loop's thread."""
    portal = _Loop.portal()
    for other in list(_OPEN):  # a notebook's cell that is run again sees what it has changed before
        if (opening.key is not None and opening.key == other.key) or opening.session == other.id:
            with suppress(AsYouWereError):
                other.save_now()
    entered = portal.wrap_async_context_manager(opening)
    session = BlockingSession(entered.__enter__(), portal, entered)
    _OPEN.add(session)
    return session


@atexit.register
def _close_all() -> None:
    for session in list(_OPEN):
        with suppress(Exception):
            session.close()


def _in_child() -> None:
    _Loop._guard = threading.Lock()
    for session in list(_OPEN):
        session._is_forked, session._entered = True, None
    _OPEN.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class BlockingSession:
    """A session whose calls wait. Everything is as in ``Session``; see there.

    What others save comes into ``state`` between any two lines; ``with session.still():`` keeps it out for a while.
    """

    def __init__(self, session: Session, portal: BlockingPortal, entered: AbstractContextManager[Session]) -> None:
        self._session = session
        self._portal = portal
        self._entered: AbstractContextManager[Session] | None = entered
        self._is_forked = False

    def _call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if self._is_forked:  # its thread is the parent's
            raise forked()
        return self._portal.call(lambda: function(*args, **options))

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The session's id."""
        return self._session.id

    @property
    def key(self) -> str | None:
        """The app's own name for it."""
        return self._session.key

    @property
    def info(self) -> Row:
        """What is kept of the session beside its state."""
        return self._session.info

    @property
    def state(self) -> TrackedDict:
        """The state, to be read and changed."""
        return self._session.state

    @state.setter
    def state(self, value: Mapping[str, Any]) -> None:
        self.set("", value)

    @property
    def number(self) -> int:
        """Number of the snapshot that the server had when last heard of."""
        return self._session.number

    @property
    def is_read_only(self) -> bool:
        """Whether a newer version of the app wrote it."""
        return self._session.is_read_only

    @property
    def status(self) -> Status:
        """How it is."""
        found: Status = self._call(lambda: self._session.status)
        return found

    @property
    def statistics(self) -> Statistics:
        """Some figures for a status page."""
        return self._session.statistics

    def still(self) -> AbstractContextManager[Any]:
        """While this block runs, nothing comes into the state from elsewhere, and nothing is saved."""
        return self._session._document.lock

    # -- changing it -----------------------------------------------------------------------------------------------

    def append(self, item: Any, *more: Any, to: str = "/messages") -> Any:
        """Put items at the end of a list."""
        return self._call(self._session.append, item, *more, to=to)

    def update(self, change: Callable[[TrackedDict], object] | Mapping[str, Any]) -> None:
        """Change the state by a function that is given it, or by members to set."""
        self._call(self._session.update, change)

    def set(self, pointer: str, value: Any) -> None:
        """Put a value at a JSON Pointer."""
        self._call(self._session.set, pointer, value)

    def get(self, pointer: str, default: Any = None) -> Any:
        """What is at a JSON Pointer, or the default."""
        return self._session.get(pointer, default)

    def context(self, last: int = 10, *, list: str = "/messages") -> list[Any]:
        """The last messages for a model's prompt."""
        return self._session.context(last, list=list)

    # -- the server ------------------------------------------------------------------------------------------------

    def save_now(self, label: str | None = None) -> int:
        """Save all there is."""
        return int(self._call(self._session.save_now, label))

    def change(self, **fields: Any) -> Row:
        """Change what is kept beside the state."""
        row: Row = self._call(self._session.change, **fields)
        return row

    def refresh(self) -> None:
        """See at once what others did."""
        self._call(self._session.refresh)

    def restore(self, number: int | None = None, *, label: str | None = None) -> int:
        """Bring an old version to the front."""
        return int(self._call(self._session.restore, number, label=label))

    def revert(self, number: int) -> int:
        """The same as ``restore(number)``."""
        return self.restore(number)

    def peek(self, number: int | None = None, *, label: str | None = None) -> dict[str, Any]:
        """The state at a number or a label, to look at."""
        state: dict[str, Any] = self._call(self._session.peek, number, label=label)
        return state

    def history(self, limit: int = 50, *, before: int | None = None) -> list[Row]:
        """The kept snapshots, newest first."""
        rows: list[Row] = self._call(self._session.history, limit, before=before)
        return rows

    def diff(self, old: int, new: int | None = None) -> list[Row]:
        """What differs between two numbers."""
        rows: list[Row] = self._call(self._session.diff, old, new)
        return rows

    def label(self, label: str | None, number: int | None = None) -> int:
        """Name a number, by default the latest after saving."""
        return int(self._call(self._session.label, label, number))

    def fork(self, number: int | None = None, *, name: str | None = None, key: str | None = None) -> str:
        """A new session that begins with a number of this one."""
        return str(self._call(self._session.fork, number, name=name, key=key))

    def origin(self) -> Row:
        """Where it was forked from."""
        row: Row = self._call(self._session.origin)
        return row

    def merge(self, **how: Any) -> int:
        """Merge what this fork has changed into the session it was forked from."""
        return int(self._call(self._session.merge, **how))

    def record_usage(
        self, model: str, input_tokens: int, output_tokens: int, cost: Decimal | float = 0, **more: Any
    ) -> Row:
        """Record what a call of a model used and cost."""
        row: Row = self._call(self._session.record_usage, model, input_tokens, output_tokens, cost, **more)
        return row

    def usage(self, turn: str | None = None) -> Row:
        """What it has used in all, or a turn of it."""
        row: Row = self._call(self._session.usage, turn)
        return row

    def set_budget(self, budget: Decimal | float | None) -> Row:
        """Say how much it is to cost in all."""
        row: Row = self._call(self._session.set_budget, budget)
        return row

    def reseal(self) -> int:
        """Seal all parts with the key of today."""
        return int(self._call(self._session.reseal))

    def export(self, format: Literal["json", "markdown", "pdf"] = "json") -> bytes:
        """The session as a file."""
        return bytes(self._call(self._session.export, format))

    # -- turns and events ------------------------------------------------------------------------------------------

    def turn(self, id: str | None = None, **how: Any) -> BlockingTurn:
        """An answer that is being made: ``with session.turn() as turn: turn.write("Hel")``."""
        return BlockingTurn(self._call, self._call(self._session.turn, id, **how))

    def stream(self, chunks: Iterable[Any], **turn: Any) -> Iterator[Any]:
        """Pass texts, or stream events of OpenAI or Anthropic, through, and save their text as a turn meanwhile."""
        with self.turn(**turn) as made:
            for chunk in chunks:
                text = text_of_event(chunk)
                going = made.write(text) if text else not made.stop_requested
                yield chunk
                if not going:
                    break

    def follow(self, turn: str | None = None, *, after: int = 0) -> Iterator[Progress]:
        """An answer that is made elsewhere, as it is made."""
        return self._each(self._session.follow(turn, after=after))

    def stop(self, turn: str) -> None:
        """Ask whoever makes an answer to stop."""
        self._call(self._session.stop, turn)

    def on(self, event: EventName | Literal["*"], listener: Callable[[Event], object]) -> Callable[[], None]:
        """Call a function, in the loop's thread, with each event of that name. Returns the undo."""
        return self._session.on(event, listener)

    def events(self) -> Iterator[Event]:
        """The events from now on, until the session is closed."""
        return self._each(self._session.events())

    def _each(self, values: Any) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._call(values.__anext__)
                except StopAsyncIteration:
                    return
        finally:
            self._call(values.aclose)

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Save what can be saved and stop. Leaving the block does this, and the end of the program."""
        entered, self._entered = self._entered, None
        _OPEN.discard(self)
        if entered is not None:
            try:
                entered.__exit__(None, None, None)
            finally:
                release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._session)


class BlockingTurn:
    """A turn whose calls wait. See ``Turn``."""

    def __init__(self, call: Callable[..., Any], turn: Turn) -> None:
        self._call = call
        self._turn = turn

    @property
    def id(self) -> str:
        """The turn's id."""
        return self._turn.id

    @property
    def text(self) -> str:
        """What has been written so far."""
        return self._turn.text

    @property
    def stop_requested(self) -> bool:
        """Whether somebody asked to stop."""
        return self._turn.stop_requested

    @property
    def result(self) -> Any:
        """The message to save, if not the text."""
        return self._turn.result

    @result.setter
    def result(self, message: Any) -> None:
        self._turn.result = message

    def write(self, chunk: Any) -> bool:
        """Add a text, or any JSON value. Returns whether to go on."""
        return bool(self._call(self._turn.write, chunk))

    def __enter__(self) -> Self:
        self._call(self._turn.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._turn.__aexit__, kind, exc, trace)
