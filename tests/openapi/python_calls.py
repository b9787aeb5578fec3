"""Calls with the client that openapi-python-client makes of spec/openapi.json; mypy checks them, the test runs them.

One of each kind of operation: a body with members to be left out, a state and changes, pages by query, a path, an
answer that is one of two, none at all, an error.
"""

from __future__ import annotations

from uuid import UUID

from asyouwere_http import AuthenticatedClient
from asyouwere_http.api.history import diff_snapshots, list_snapshots, remove_label
from asyouwere_http.api.messages import append_messages
from asyouwere_http.api.restore import restore_snapshot
from asyouwere_http.api.save import save_snapshot
from asyouwere_http.api.sessions import create_session, get_session, list_sessions, update_session
from asyouwere_http.models import (
    AppendRequest,
    Changes,
    ChangesSet,
    ChangesSince,
    CreatedSession,
    CreateSession,
    DifferenceList,
    ErrorCode,
    ListedSession,
    Problem,
    Restored,
    RestoreRequest,
    Saved,
    SaveRequest,
    Session,
    SessionPage,
    SnapshotPage,
    State,
    UpdateSession,
    UpdateSessionStatus,
    Visibility,
)

__all__ = ["client", "rename", "running_session", "tour"]


def client(url: str, token: str) -> AuthenticatedClient:
    """A client of the functions at a base URL."""
    return AuthenticatedClient(base_url=url, token=token, httpx_args={"trust_env": False})


def running_session(api: AuthenticatedClient) -> UUID:
    """A new session, archived, public and running."""
    made = create_session.sync_detailed(client=api, body=CreateSession(name="before"))
    assert made.status_code == 201
    assert isinstance(made.parsed, CreatedSession)
    assert made.parsed.created
    change = UpdateSession(
        status=UpdateSessionStatus.RUNNING, visibility=Visibility.PUBLIC, archived=True, model="large-1"
    )
    changed = update_session.sync(made.parsed.id, client=api, body=change)
    assert isinstance(changed, Session)
    session_id: UUID = changed.id
    return session_id


def rename(api: AuthenticatedClient, session_id: UUID, name: str) -> Session:
    """The session after a change of its name."""
    changed = update_session.sync(session_id, client=api, body=UpdateSession(name=name))
    assert isinstance(changed, Session)
    return changed


def tour(api: AuthenticatedClient) -> list[str]:
    """What there is to see on the way through the other kinds of operations."""
    session_id = running_session(api)
    state = State.from_dict({"messages": ["one"], "memory": {"topic": "tea"}})
    saved = save_snapshot.sync(client=api, body=SaveRequest(session_id=session_id, state=state), idempotency_key="k")
    assert isinstance(saved, Saved)
    changes = Changes(set_=ChangesSet.from_dict({"/memory/topic": "coffee"}), remove=["/messages/0"])
    later = save_snapshot.sync(
        client=api, body=SaveRequest(session_id=session_id, changes=changes, base=saved.number, label="second")
    )
    assert isinstance(later, Saved)
    restored = restore_snapshot.sync(client=api, body=RestoreRequest(session_id=session_id))
    assert isinstance(restored, Restored)
    since = restore_snapshot.sync(client=api, body=RestoreRequest(session_id=session_id, since=saved.number))
    assert isinstance(since, ChangesSince)
    assert since.changes is not None
    appended = append_messages.sync(session_id, client=api, body=AppendRequest(messages=["two", {"role": "user"}]))
    assert not isinstance(appended, Problem)
    assert appended is not None
    differences = diff_snapshots.sync(session_id, client=api, from_=1, to=2)
    assert isinstance(differences, DifferenceList)
    page = list_snapshots.sync(session_id, client=api, limit=1)
    assert isinstance(page, SnapshotPage)
    sessions = list_sessions.sync(client=api)
    assert isinstance(sessions, SessionPage)
    nothing = remove_label.sync_detailed(session_id, later.number, client=api)
    assert nothing.parsed is None
    one = get_session.sync(session_id, client=api)
    assert isinstance(one, ListedSession)
    refused = get_session.sync(UUID(int=0), client=api)
    assert isinstance(refused, Problem)
    assert refused.code == ErrorCode.SESSION_NOT_FOUND
    return [
        str(restored.state.to_dict()),
        str(since.changes.to_dict()),
        str([change.address for change in differences.differences]),
        f"{appended.number} {appended.last_position} {len(page.snapshots)} {len(sessions.sessions)}",
        f"{nothing.status_code:d} {one.status} {refused.status}",
    ]
