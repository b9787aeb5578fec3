"""Sessions in Python: opened, changed like a dict, saved by themselves. See docs/python.md.

    async with asyouwere.open(url, token=…, key="chat-1") as session:
        session.append({"role": "user", "content": "Hello!"})

How it is made, from the inside out:

- ``tracked``, ``tracked_trees``, ``document``: the state as the app sees it, which notices its changes;
- ``replica``: what a client keeps of a session (base, sending, local), without any I/O;
- ``journal_file``, ``journal``, ``record``: the same on disk;
- ``transport`` and ``http``, ``postgrest``, ``postgres``: the three ways to the database;
- ``sync``: what to send, what an answer means; ``conflicts``: what was in doubt;
- ``rhythm``, ``autosave``: when to send, and what to do without an answer;
- ``session``: what the app calls; ``turns``, ``following``, ``endings``, ``events``, ``opening``, ``blocking`` and
  ``forking`` belong to it;
- ``prices``, ``budgets``: what calls of models cost, and when a budget comes to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from asyouwere.client.events import Event, Statistics, Status, format_time_ago
from asyouwere.client.opening import Opening, Options
from asyouwere.client.prices import cost_of
from asyouwere.client.rhythm import Rhythm
from asyouwere.client.session import Session
from asyouwere.client.tokens import Token
from asyouwere.state.rebasing import Doubt

if TYPE_CHECKING:
    import httpx

    from asyouwere.client.encryption import Encryption
    from asyouwere.client.realtime import Realtime

__all__ = ["Event", "Opening", "Session", "Statistics", "Status", "cost_of", "format_time_ago", "open"]


def open(
    url: str,
    *,
    token: Token | None = None,
    session: str | None = None,
    key: str | None = None,
    user_id: str | None = None,
    api_key: str | None = None,
    name: str | None = None,
    model: str | None = None,
    kind: Literal["agent", "chat", "workflow"] | None = None,
    metadata: Mapping[str, Any] | None = None,
    expires_after_seconds: int | None = None,
    debounce: float = 5.0,
    max_wait: float = 30.0,
    poll: float | None = 3.0,
    journal: Path | str | bool = True,
    version: int | None = None,
    migrate: Callable[[Any, int], Any] | None = None,
    on_expired: Literal["stop", "new"] | int = "stop",
    resolve: Callable[[Doubt], Any] | None = None,
    encryption: Encryption | None = None,
    timeout: float = 30.0,
    close_timeout: float = 10.0,
    http: httpx.AsyncClient | None = None,
    realtime: Realtime | None = None,
) -> Opening:
    """Open a session, made if there is none: ``async with asyouwere.open(…) as session:``, or ``with`` where nothing
    is async.

    url: of the functions (``https://…/functions/v1``), of a Supabase project, or ``postgresql://…`` with ``user_id``
    (needs the extra ``postgres``). token: the user's access token, or a function (async or not) that gives one and is
    asked again before it ends. api_key: the project's public key, for a Supabase project.

    session: the id of one that is there. key: your own name for it, one session each. Neither: a new one. name,
    model, kind, metadata, expires_after_seconds: of a new one.

    debounce, max_wait, poll: seconds from the last change to saving it; from the first one at the latest; between two
    looks for what others did (None: no looks). For voice, ``debounce=2``.

    journal: the folder of what must survive a crash (default: the user's folder for state); False: none.

    version, migrate: the app's version of its state, kept in it as ``schemaVersion``; ``migrate(state, version)``
    brings an older one up. A newer one is opened for reading only.

    on_expired: what to do when the session has expired or was deleted: "stop" (event ``expired``), "new" (an empty
    one in its place), or a number: a new one with so many last messages. resolve: asked for each doubt of a conflict;
    returns "mine" (which is the default) or "theirs".

    encryption: keys with which everything is sealed before it leaves, see ``asyouwere.client.encryption`` (needs the
    extra ``encryption``). The journal on this machine is not sealed.

    timeout, close_timeout: seconds for a request, and for saving at the end. http: your own httpx.AsyncClient.

    realtime: supabase-py's AsyncClient, signed in as the same user: what others do comes in at once, and looks become
    seldom. With ``async with`` alone, on the loop of that client.
    """
    given: dict[str, Any] = {"name": name, "model": model, "kind": kind, "metadata": metadata}
    given |= {"expires_after_seconds": expires_after_seconds}
    return Opening(
        Options(
            url=url,
            token=token,
            session=session,
            key=key,
            user_id=user_id,
            api_key=api_key,
            fields={name: value for name, value in given.items() if value is not None},
            journal=journal,
            rhythm=Rhythm(debounce, max_wait, poll),
            version=version,
            migrate=migrate,
            on_expired=on_expired,
            resolve=resolve,
            encryption=encryption,
            timeout=timeout,
            close_timeout=close_timeout,
            http=http,
            realtime=realtime,
        )
    )
