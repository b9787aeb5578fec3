"""What the tests of one file share: a database, and the scene of the access matrix in it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import psycopg
import pytest

from tests.sql.access_matrix import TURN, VISIBILITIES, Scene
from tests.sql.states import change
from tests.support.cluster import Cluster
from tests.support.database import Db

NAMES = itertools.count(1)


@pytest.fixture(scope="module")
def shared(cluster: Cluster, template: str) -> Iterator[Db]:
    """One database for all tests of a file: quicker than one for each, where tests can't get in each other's way."""
    name = f"asyouwere_shared_{os.getpid()}_{next(NAMES)}"
    with psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute(f"create database {name} template {template}".encode())
        db = Db(cluster, name)
        yield db
        db.close()
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture(scope="module")
def scene(shared: Db) -> Scene:
    """Ada's three sessions, with ed and vi as members of each and ivy invited. Tests undo what they do."""
    people = {name: shared.user(name) for name in ("ada", "ed", "vi", "ivy", "eve", "newcomer")}
    sessions = {}
    for visibility in VISIBILITIES:
        session_id = sessions[visibility] = shared.session("ada", name=visibility)
        with shared.acting_as("ada"):
            shared.share(session_id, "ed", "editor")
            shared.share(session_id, "vi", "viewer")
            shared.one("set_session_member", p_session_id=session_id, p_user_id=people["ivy"], p_role="editor")
            shared.one("update_session", p_session_id=session_id, p_changes={"visibility": visibility})
            shared.save(session_id, {"messages": ["a", "b"], "n": 1}, p_label="first", p_idempotency_key="k")
            change(shared, session_id, {"set": {"/n": 2}})
            usage = {"p_session_id": session_id, "p_model": "m", "p_input_tokens": 1, "p_output_tokens": 1}
            shared.one("record_usage", **usage)
            turn = {"p_session_id": session_id, "p_turn_id": TURN}
            shared.one("begin_turn", **turn, p_lease_seconds=300)
            shared.one("append_turn_chunks", **turn, p_from_seq=1, p_chunks=["so far"])
    with shared.acting_as("service"):
        shared.one("cleanup_old_snapshots")
    return Scene(shared, sessions, people)
