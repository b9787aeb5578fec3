"""supabase-py, sync and async, as two users, a member, nobody and the service."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import httpx
import pytest
from postgrest import APIError
from supabase import AsyncClientOptions, Client, ClientOptions, create_async_client, create_client
from supabase_auth.errors import AuthApiError
from supabase_functions.errors import FunctionsHttpError

from tests.clients.places import Place

PASSWORD = uuid.uuid4().hex
STATE: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "memory": {"topic": "tea"}, "currentStep": 1}


@dataclass
class Person:
    """A signed-up user and their client."""

    id: str
    email: str
    supabase: Client


LINES = httpx.Client(timeout=30, trust_env=False)


@pytest.fixture(scope="session", autouse=True)
def lines_closed() -> Iterator[None]:
    """supabase-py never closes its connections by itself, so all clients here share ours."""
    yield
    LINES.close()


def client(place: Place, key: str | None = None) -> Client:
    options = ClientOptions(persist_session=False, auto_refresh_token=False, httpx_client=LINES)
    return create_client(place.url, key or place.anon_key, options)


@pytest.fixture(scope="module")
def person(place: Place) -> Callable[[str], Person]:
    """Signs a person up, once for each name."""
    people: dict[str, Person] = {}

    def find(name: str) -> Person:
        if name not in people:
            supabase = client(place)
            email = f"{name}-{uuid.uuid4()}@example.org"
            user = supabase.auth.sign_up({"email": email, "password": PASSWORD}).user
            assert user is not None
            people[name] = Person(user.id, email, supabase)
        return people[name]

    return find


@pytest.fixture
def ada(person: Callable[[str], Person]) -> Person:
    return person("ada")


@pytest.fixture
def session(ada: Person) -> str:
    """A session of ada's with two snapshots: STATE, and one more message at step 2."""
    row: Any = ada.supabase.table("free_agent_sessions").insert({"name": "Kyoto"}).execute().data[0]
    assert row["user_id"] == ada.id
    save(ada.supabase, row["id"], p_state=STATE)
    changes = {"append": {"/messages": [{"role": "assistant", "content": "yo"}]}, "set": {"/currentStep": 2}}
    save(ada.supabase, row["id"], p_base=1, p_changes=changes)
    return str(row["id"])


def save(supabase: Client, session_id: str, **arguments: Any) -> Any:
    call = supabase.rpc("create_session_snapshot", {"p_session_id": session_id, **arguments})
    return call.execute().data[0]


def latest(supabase: Client, session_id: str) -> Any:
    return supabase.rpc("get_latest_snapshot", {"p_session_id": session_id}).single().execute().data


def test_sign_up__again_with_the_same_address__is_refused(place: Place, ada: Person) -> None:
    with pytest.raises(AuthApiError) as refused:
        client(place).auth.sign_up({"email": ada.email, "password": PASSWORD})
    assert refused.value.code == "user_already_exists"


def test_sign_in__with_another_password__is_refused(place: Place, ada: Person) -> None:
    supabase = client(place)
    with pytest.raises(AuthApiError) as refused:
        supabase.auth.sign_in_with_password({"email": ada.email, "password": "something else"})
    assert (refused.value.status, refused.value.code) == (400, "invalid_credentials")
    user = supabase.auth.sign_in_with_password({"email": ada.email, "password": PASSWORD}).user
    assert user is not None
    assert user.id == ada.id
    assert isinstance(user.created_at, datetime)


def test_session__refreshed_updated_and_left(place: Place, ada: Person) -> None:
    supabase = client(place)
    first = supabase.auth.sign_in_with_password({"email": ada.email, "password": PASSWORD}).session
    second = supabase.auth.refresh_session().session
    assert first is not None
    assert second is not None
    assert second.refresh_token != first.refresh_token
    supabase.table("sessions_list").select("id").limit(1).execute()
    found = supabase.auth.get_user()
    assert found is not None
    assert found.user.id == ada.id
    updated = supabase.auth.update_user({"data": {"nickname": "Ada"}}).user
    assert updated.user_metadata["nickname"] == "Ada"
    supabase.auth.sign_out()
    assert supabase.auth.get_session() is None
    with pytest.raises(AuthApiError):
        client(place).auth.refresh_session(second.refresh_token)


def test_rpc__saves_and_gives_back_what_was_saved(ada: Person, session: str) -> None:
    found = latest(ada.supabase, session)
    messages = [*STATE["messages"], {"role": "assistant", "content": "yo"}]
    assert found["state"] == {**STATE, "messages": messages, "currentStep": 2}
    saved = save(ada.supabase, session, p_changes={"set": {"/a": 'text "quoted" ü 🍵'}}, p_idempotency_key="k")
    again = save(ada.supabase, session, p_changes={"set": {"/a": 'text "quoted" ü 🍵'}}, p_idempotency_key="k")
    assert (saved["number"], again["number"], again["replayed"]) == (3, 3, True)
    assert latest(ada.supabase, session)["state"]["a"] == 'text "quoted" ü 🍵'


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ({"p_session_id": str(uuid.uuid4()), "p_state": {}}, 404, "session_not_found"),
        ({"p_changes": {"set": {"/messages/0/role": 1}}}, 422, "address_below_part"),
        ({"p_changes": {"set": {"/currentStep": 9}}, "p_base": 1}, 409, "conflict"),
    ],
)
def test_rpc__errors_arrive_with_our_code_as_hint(
    ada: Person, session: str, arguments: dict[str, Any], status: int, code: str
) -> None:
    with pytest.raises(APIError) as refused:
        ada.supabase.rpc("create_session_snapshot", {"p_session_id": session, **arguments}).execute()
    assert (refused.value.code, refused.value.hint) == (f"PT{status}", code)


def test_tables__filters_order_paging_and_counts(ada: Person, session: str) -> None:
    snapshots = ada.supabase.table("session_snapshots")
    page = snapshots.select("number", count="exact").eq("session_id", session).order("number").range(1, 1).execute()
    assert (page.data, page.count) == ([{"number": 2}], 2)
    head = snapshots.select("*", count="exact", head=True).eq("session_id", session).execute()
    assert head.count == 2
    sessions = ada.supabase.table("free_agent_sessions")
    for found in (
        sessions.select("id").eq("id", session).ilike("name", "KYO%"),
        sessions.select("id").eq("id", session).or_("name.eq.nothing,status.eq.idle"),
        sessions.select("id").eq("id", session).in_("status", ["idle", "running"]),
        sessions.select("id").eq("id", session).contains("metadata", {}),
        sessions.select("id").eq("id", session).is_("archived_at", "null"),
    ):
        assert found.execute().data == [{"id": session}]
    text: Any = sessions.select("id").eq("id", session).csv().execute().data
    assert text.split() == ["id", session]
    assert sessions.select("id").eq("id", str(uuid.uuid4())).maybe_single().execute() is None
    row: Any = ada.supabase.table("sessions_list").select("*").eq("id", session).single().execute().data
    assert row["message_count"] == 2
    assert datetime.fromisoformat(row["created_at"]).tzinfo is not None


def test_embeds__snapshots_and_messages_under_sessions(ada: Person, session: str) -> None:
    columns = "*, session_snapshots(*), session_messages(role, content)"
    table = ada.supabase.table("free_agent_sessions")
    row: Any = table.select(columns).eq("id", session).single().execute().data
    assert sorted(snapshot["number"] for snapshot in row["session_snapshots"]) == [1, 2]
    assert {message["content"] for message in row["session_messages"]} == {"hi", "yo"}


def test_messages__inserted__are_in_the_next_restore(ada: Person, session: str) -> None:
    message = {"session_id": session, "role": "user", "content": "more"}
    (row,) = ada.supabase.table("session_messages").insert(message).execute().data
    assert row["position"] == 2
    assert latest(ada.supabase, session)["state"]["messages"][2] == {"role": "user", "content": "more"}


def test_sessions__updated_upserted_and_deleted(ada: Person, session: str) -> None:
    table = ada.supabase.table("free_agent_sessions")
    assert table.update({"name": "Osaka"}).eq("id", session).execute().data[0]["name"] == "Osaka"
    assert table.upsert({"id": session, "name": "Nara"}).execute().data[0]["name"] == "Nara"
    assert len(table.delete().eq("id", session).execute().data) == 1
    with pytest.raises(APIError) as refused:
        latest(ada.supabase, session)
    assert refused.value.hint == "session_not_found"


def test_functions__invoked__save_and_restore(ada: Person, session: str) -> None:
    def invoke(name: str, body: dict[str, Any]) -> Any:
        headers = {"Idempotency-Key": "turn-3"}
        return ada.supabase.functions.invoke(
            name, {"body": body, "headers": headers, "responseType": "json"}
        )

    body = {"session_id": session, "changes": {"set": {"/big": "x" * 1_000_000}}}
    first, second = invoke("session-snapshot-save", body), invoke("session-snapshot-save", body)
    assert (first["number"], second["replayed"]) == (3, True)
    restored = invoke("session-snapshot-restore", {"session_id": session})
    assert len(restored["state"]["big"]) == 1_000_000
    with pytest.raises(FunctionsHttpError):
        invoke("session-snapshot-restore", {"session_id": str(uuid.uuid4())})


def test_stranger_and_nobody__see_nothing_and_change_nothing(
    place: Place, person: Callable[[str], Person], session: str
) -> None:
    for other in (person("eve").supabase, client(place)):
        assert other.table("free_agent_sessions").select("id,name").eq("id", session).execute().data == []
        assert other.table("session_snapshots").select("number").eq("session_id", session).execute().data == []
        assert other.table("session_messages").select("*").eq("session_id", session).execute().data == []
        with pytest.raises(APIError) as refused:
            latest(other, session)
        assert refused.value.hint == "session_not_found"
        with pytest.raises(APIError):
            save(other, session, p_state={})
        message = {"session_id": session, "role": "user", "content": "x"}
        with pytest.raises(APIError):
            other.table("session_messages").insert(message).execute()


def test_members_and_everybody__do_what_they_may(
    place: Place, ada: Person, person: Callable[[str], Person], session: str
) -> None:
    bob = person("bob")
    member = {"p_session_id": session, "p_user_id": bob.id}
    ada.supabase.rpc("set_session_member", {**member, "p_role": "viewer"}).execute()
    (invitation,) = cast(list[Any], bob.supabase.rpc("list_invitations").execute().data)
    assert (invitation["session_id"], invitation["role"]) == (session, "viewer")
    bob.supabase.rpc("accept_invitation", {"p_session_id": session}).execute()
    assert latest(bob.supabase, session)["number"] == 2
    with pytest.raises(APIError) as refused:
        save(bob.supabase, session, p_changes={"set": {"/by": "bob"}})
    assert (refused.value.code, refused.value.hint) == ("PT403", "forbidden")
    ada.supabase.rpc("set_session_member", {**member, "p_role": "editor"}).execute()
    assert save(bob.supabase, session, p_changes={"set": {"/by": "bob"}})["number"] == 3
    ada.supabase.table("free_agent_sessions").update({"visibility": "public"}).eq("id", session).execute()
    assert latest(client(place), session)["number"] == 3


def test_service_key__cleans_up_and_a_user_may_not(place: Place, ada: Person) -> None:
    service = client(place, place.service_key)
    assert service.rpc("cleanup_old_snapshots").execute().data[0]["done"] is True
    with pytest.raises(APIError) as refused:
        ada.supabase.rpc("cleanup_old_snapshots").execute()
    assert refused.value.code == "42501"


async def test_async_client__signs_in_saves_restores_and_invokes(place: Place) -> None:
    async with httpx.AsyncClient(timeout=30, trust_env=False) as lines:
        await signs_in_saves_and_restores(place, lines)


async def signs_in_saves_and_restores(place: Place, lines: httpx.AsyncClient) -> None:
    options = AsyncClientOptions(persist_session=False, auto_refresh_token=False, httpx_client=lines)
    supabase = await create_async_client(place.url, place.anon_key, options)
    email = f"async-{uuid.uuid4()}@example.org"
    await supabase.auth.sign_up({"email": email, "password": PASSWORD})
    await supabase.auth.sign_in_with_password({"email": email, "password": PASSWORD})
    made: Any = (await supabase.table("free_agent_sessions").insert({"name": "Kyoto"}).execute()).data[0]
    call = {"p_session_id": made["id"], "p_state": STATE}
    await supabase.rpc("create_session_snapshot", call).execute()
    found: Any = (await supabase.rpc("get_latest_snapshot", {"p_session_id": made["id"]}).execute()).data
    assert [row["state"] for row in found] == [STATE]
    request = {"body": {"session_id": made["id"]}, "responseType": "json"}
    restored: Any = await supabase.functions.invoke("session-snapshot-restore", request)
    assert restored["state"] == STATE
    await supabase.auth.sign_out()
