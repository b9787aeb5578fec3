"""A PostgREST before a migrated database, and the people who call it as curl would.

ASYOUWERE_TEST_POSTGREST_URL             one that runs already: its address (on Supabase <project>/rest/v1); with it
ASYOUWERE_TEST_POSTGREST_DATABASE_URL    a superuser's connection string to its database, migrated, and
ASYOUWERE_TEST_POSTGREST_SECRET          the shared secret of its tokens; and, before a gateway,
ASYOUWERE_TEST_POSTGREST_APIKEY          the key to send as apikey
"""

from __future__ import annotations

import itertools
import os
import time
import uuid
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx
import jwt
import psycopg

from tests.sql.access_matrix import (
    ANONYMOUS,
    EDITOR,
    INVITED,
    NEWCOMER,
    OWNER,
    SERVICE,
    STRANGER,
    TURN,
    UNNAMED,
    VIEWER,
)

#: Everybody who can come over HTTP. Without a token one is anonymous, so nobody comes without claims.
CALLERS = (ANONYMOUS, UNNAMED, STRANGER, INVITED, VIEWER, EDITOR, OWNER, SERVICE)
SIGNED_IN = (STRANGER, INVITED, VIEWER, EDITOR, OWNER)

_NAMES = itertools.count(1)


@dataclass
class Target:
    """Where the tests go. dsn: of a superuser, for making users."""

    url: str
    secret: str
    dsn: str
    apikey: str | None = None

    def token(self, user_id: str | None, role: str) -> str:
        """A token that this PostgREST accepts."""
        now = int(time.time())
        claims = {"sub": user_id, "role": role, "aud": "authenticated", "iat": now, "exp": now + 3600}
        return jwt.encode({k: v for k, v in claims.items() if v is not None}, self.secret, "HS256")

    def caller(self, user_id: str | None, role: str | None) -> Caller:
        """Somebody by user id and role; without a role nobody has signed in."""
        headers = {"apikey": self.apikey} if self.apikey else {}
        if role is not None:
            headers["Authorization"] = f"Bearer {self.token(user_id, role)}"
        http = httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)
        return Caller(user_id, http)

    def people(self) -> People:
        """A cast that no other test knows."""
        ids = {name: str(uuid.uuid4()) for name in SIGNED_IN}
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for user_id in (*ids.values(), NEWCOMER):
                connection.execute(
                    "insert into auth.users (id, email) values (%s, %s) on conflict (id) do nothing",
                    (user_id, f"{user_id}@example.org")
                )
        everybody = {name: self.caller(user_id, "authenticated") for name, user_id in ids.items()}
        everybody[ANONYMOUS] = self.caller(None, None)
        everybody[UNNAMED] = self.caller(None, "authenticated")
        everybody[SERVICE] = self.caller(None, "service_role")
        return People(everybody)


@dataclass
class Caller:
    """One of them: what they can ask for."""

    user_id: str | None
    http: httpx.Client

    def get(self, path: str, query: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        """GET a table or view, or a function that only reads."""
        return self.http.get(path, params=query, headers=_named(headers))

    def rpc(self, function: str, arguments: Any = None, **headers: str) -> httpx.Response:
        """POST to a function; arguments as a value or as JSON text."""
        if isinstance(arguments, str):
            named = {"Content-Type": "application/json", **_named(headers)}
            return self.http.post(f"/rpc/{function}", content=arguments, headers=named)
        return self.http.post(f"/rpc/{function}", json=arguments or {}, headers=_named(headers))

    def done(self, function: str, **arguments: Any) -> dict[str, Any]:
        """The first row of a function that must accept."""
        answer = self.rpc(function, arguments)
        assert answer.status_code == 200, answer.text
        return dict(answer.json()[0])

    def session(self, state: Any = None, **arguments: Any) -> str:
        """A new session's id, with a state saved if one is given."""
        session_id = str(self.done("get_or_create_session", **arguments)["id"])
        if state is not None:
            self.done("create_session_snapshot", p_session_id=session_id, p_state=state)
        return session_id


@dataclass
class People:
    """The cast, by the names of the access matrix; closes their connections."""

    by_name: dict[str, Caller]
    name: str = field(default_factory=lambda: f"cast {next(_NAMES)}")

    def __getitem__(self, name: str) -> Caller:
        return self.by_name[name]

    @property
    def owner(self) -> Caller:
        """Whose session it is."""
        return self.by_name[OWNER]

    def scene(self, visibility: str) -> str:
        """A session of the owner's with a labelled snapshot 1 and a snapshot 2, an editor and a viewer."""
        owner = self.owner
        session_id = owner.session({"messages": ["one"], "n": 1})
        owner.done("label_snapshot", p_session_id=session_id, p_number=1, p_label="first")
        owner.done("create_session_snapshot", p_session_id=session_id, p_state={"messages": ["one", "two"], "n": 2})
        for name, role in ((EDITOR, "editor"), (VIEWER, "viewer")):
            member = self.by_name[name].user_id
            owner.done("set_session_member", p_session_id=session_id, p_user_id=member, p_role=role)
            self.by_name[name].done("accept_invitation", p_session_id=session_id)
        turn = {"p_session_id": session_id, "p_turn_id": str(TURN)}
        owner.done("begin_turn", **turn, p_lease_seconds=300)
        owner.done("append_turn_chunks", **turn, p_from_seq=1, p_chunks=["x"])
        owner.done("record_usage", p_session_id=session_id, p_model="m", p_input_tokens=1, p_output_tokens=1, p_cost=0.5)
        invited = self.by_name[INVITED].user_id
        owner.done("set_session_member", p_session_id=session_id, p_user_id=invited, p_role="viewer")
        owner.done("update_session", p_session_id=session_id, p_changes={"visibility": visibility})
        return session_id

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for somebody in self.by_name.values():
            somebody.http.close()


def given_target() -> Target | None:
    """The one that the environment names."""
    url = os.environ.get("ASYOUWERE_TEST_POSTGREST_URL")
    if not url:
        return None
    return Target(
        url.rstrip("/"),
        os.environ["ASYOUWERE_TEST_POSTGREST_SECRET"],
        os.environ["ASYOUWERE_TEST_POSTGREST_DATABASE_URL"],
        os.environ.get("ASYOUWERE_TEST_POSTGREST_APIKEY"),
    )


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """PostgREST's error, which must have this status, PTxyz of it, and our code as its hint."""
    problem = dict(answer.json())
    assert (answer.status_code, problem["code"], problem["hint"]) == (status, f"PT{status}", code), answer.text
    return problem


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
