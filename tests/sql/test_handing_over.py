"""transfer_session() and claim_sessions(): sessions change hands as they are, and only as both sides want."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from tests.support.database import Db


def transferred(db: Db, session_id: UUID, to: str) -> None:
    with db.acting_as("ada"):
        db.one("transfer_session", p_session_id=session_id, p_to_user=db.user(to))


def owner_of(db: Db, session_id: UUID) -> UUID:
    (row,) = db.superuser.execute(
        "select user_id from public.free_agent_sessions where id = %s", (session_id,)
    ).fetchall()
    return UUID(str(row["user_id"]))


# -- one session -------------------------------------------------------------------------------------------------


def test_transfer__keeps_id_history_and_members(db: Db) -> None:
    session_id = db.session("ada", name="ours", key="k")
    with db.acting_as("ada"):
        db.save(session_id, {"n": 1}, p_label="first")
        db.save(session_id, {"n": 2})
        db.share(session_id, "bob", "viewer")
        db.share(session_id, "ed")
    transferred(db, session_id, "bob")
    assert owner_of(db, session_id) == db.user("ada")
    with db.acting_as("bob"):
        (offer,) = db.call("list_invitations")
        assert (offer["session_id"], offer["role"], offer["name"]) == (session_id, "owner", "ours")
        row = db.one("accept_transfer", p_session_id=session_id)
        assert (row["id"], row["user_id"], row["key"], row["latest_number"]) == (session_id, db.user("bob"), "k", 2)
        assert db.one("get_snapshot", p_session_id=session_id, p_label="first")["state"] == {"n": 1}
        assert [m["user_id"] for m in db.call("list_session_members", p_session_id=session_id)] == [db.user("ed")]
        assert db.call("list_invitations") == []
        with db.refuses("invitation_not_found"):
            db.one("accept_transfer", p_session_id=session_id)
    with db.acting_as("ada"), db.refuses("session_not_found"):
        db.one("get_session", p_session_id=session_id)


def test_transfer__of_a_private_session_and_a_key_that_meets(db: Db) -> None:
    session_id, other = db.session("ada", key="k" * 500), db.session("bob", key="k" * 500)
    transferred(db, session_id, "bob")
    with db.acting_as("bob"):
        key = db.one("accept_transfer", p_session_id=session_id)["key"]
        assert key.startswith("k" * 460 + " ")
        assert db.one("get_or_create_session", p_key="k" * 500)["id"] == other
        assert db.one("get_or_create_session", p_key=key)["id"] == session_id


def test_transfer__taken_back_declined_or_to_another(db: Db) -> None:
    session_id = db.session("ada")
    transferred(db, session_id, "bob")
    with db.acting_as("ada"):
        db.one("transfer_session", p_session_id=session_id, p_to_user=None)
    with db.acting_as("bob"), db.refuses("invitation_not_found"):
        db.one("accept_transfer", p_session_id=session_id)
    transferred(db, session_id, "bob")
    transferred(db, session_id, "eve")
    with db.acting_as("bob"), db.refuses("invitation_not_found"):
        db.one("accept_transfer", p_session_id=session_id)
    with db.acting_as("eve"):
        db.call("remove_session_member", p_session_id=session_id, p_user_id=db.user("eve"))
        with db.refuses("invitation_not_found"):
            db.one("accept_transfer", p_session_id=session_id)
    assert owner_of(db, session_id) == db.user("ada")


@pytest.mark.parametrize("who", ["ed", "eve"])
def test_transfer__is_the_owners_and_needs_an_offer(db: Db, who: str) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.share(session_id, "ed")
    with db.acting_as(who):
        with db.refuses("forbidden" if who == "ed" else "session_not_found"):
            db.one("transfer_session", p_session_id=session_id, p_to_user=db.user(who))
        with db.refuses("invitation_not_found"):
            db.one("accept_transfer", p_session_id=session_id)


@pytest.mark.parametrize(
    ("setting", "quota"), [("max_sessions_per_user", "sessions"), ("max_stored_bytes_per_user", "stored_bytes")]
)
def test_transfer__counts_against_the_new_owners_quota(db: Db, setting: str, quota: str) -> None:
    session_id, _ = db.session("ada"), db.session("bob")
    with db.acting_as("ada"):
        db.save(session_id, {"n": "x" * 100})
    transferred(db, session_id, "bob")
    db.superuser.execute(f"update asyouwere.settings set {setting} = 1".encode())
    with db.acting_as("bob"):
        with db.refuses("quota_exceeded") as refused:
            db.one("accept_transfer", p_session_id=session_id)
        assert f'"quota": "{quota}"' in (refused.value.diag.message_detail or "")
    assert owner_of(db, session_id) == db.user("ada")


# -- all of a guest's --------------------------------------------------------------------------------------------


def test_claim__takes_all_as_they_are(db: Db) -> None:
    ids = [db.session("guest", key=f"k{n}", name=f"n{n}") for n in range(3)]
    mine = db.session("ada", key="k1")
    with db.acting_as("guest"):
        db.save(ids[0], {"messages": ["hi"]})
        db.share(ids[0], "ada")
        code = db.one("offer_my_sessions")["code"]
    stored = db.superuser.execute("select o::text as row from asyouwere.offers o").fetchall()
    assert code not in stored[0]["row"]
    with db.acting_as("ada"):
        assert db.one("claim_sessions", p_code=code) == {"sessions": 3, "new_keys": 1}
        assert {owner_of(db, each) for each in ids} == {db.user("ada")}
        assert db.one("get_or_create_session", p_key="k0")["id"] == ids[0]
        assert db.one("get_or_create_session", p_key="k1")["id"] == mine
        assert db.one("get_latest_snapshot", p_session_id=ids[0])["state"] == {"messages": ["hi"]}
        assert db.call("list_session_members", p_session_id=ids[0]) == []
        # once
        with db.refuses("offer_not_found"):
            db.one("claim_sessions", p_code=code)
    with db.acting_as("guest"):
        assert db.call("list_sessions") == []


def test_claim__an_answer_that_runs_goes_on(db: Db) -> None:
    session_id, turn, editors = db.session("guest"), uuid4(), uuid4()
    shared = db.session("guest")
    with db.acting_as("guest"):
        db.share(shared, "ed")
        db.one("begin_turn", p_session_id=session_id, p_turn_id=turn)
        db.one("append_turn_chunks", p_session_id=session_id, p_turn_id=turn, p_from_seq=1, p_chunks=["Green "])
        code = db.one("offer_my_sessions")["code"]
    with db.acting_as("ed"):
        db.one("begin_turn", p_session_id=shared, p_turn_id=editors)
    with db.acting_as("ada"):
        db.one("claim_sessions", p_code=code)
        assert db.one("get_turn", p_session_id=session_id, p_turn_id=turn)["started_by"] == db.user("ada")
        db.one("append_turn_chunks", p_session_id=session_id, p_turn_id=turn, p_from_seq=2, p_chunks=["or black?"])
        db.one("finish_turn", p_session_id=session_id, p_turn_id=turn)
        (message,) = db.one("get_latest_snapshot", p_session_id=session_id)["state"]["messages"]
        assert message == {"role": "assistant", "content": "Green or black?"}
    with db.acting_as("guest"), db.refuses("session_not_found"):
        db.one("append_turn_chunks", p_session_id=session_id, p_turn_id=turn, p_from_seq=3, p_chunks=["late"])
    (left,) = db.superuser.execute(
        "select started_by from public.session_turns where id = %s", (editors,)
    ).fetchall()
    assert left["started_by"] == db.user("ed")  # only the guest's are the account's


@pytest.mark.parametrize("why", ["wrong", "null", "over", "replaced", "own"])
def test_claim__code_that_is_no_good(db: Db, why: str) -> None:
    session_id = db.session("guest")
    with db.acting_as("guest"):
        code = db.one("offer_my_sessions")["code"]
        if why == "replaced":
            db.one("offer_my_sessions")
    if why == "over":
        db.superuser.execute("update asyouwere.offers set expires_at = now()")
    given = {"wrong": "0" * 32, "null": None}.get(why, code)
    with db.acting_as("guest" if why == "own" else "eve"), db.refuses("offer_not_found"):
        db.one("claim_sessions", p_code=given)
    assert owner_of(db, session_id) == db.user("guest")


def test_claim__all_or_none(db: Db) -> None:
    ids = [db.session("guest") for _ in range(3)]
    with db.acting_as("guest"):
        code = db.one("offer_my_sessions")["code"]
    db.superuser.execute("update asyouwere.settings set max_sessions_per_user = 2")
    with db.acting_as("ada"), db.refuses("quota_exceeded"):
        db.one("claim_sessions", p_code=code)
    assert {owner_of(db, each) for each in ids} == {db.user("guest")}
    # the code is still good: nothing was taken
    db.superuser.execute("update asyouwere.settings set max_sessions_per_user = 3")
    with db.acting_as("ada"):
        assert db.one("claim_sessions", p_code=code)["sessions"] == 3


def test_offer__ends_in_ten_minutes(db: Db) -> None:
    with db.acting_as("guest"):
        row = db.one("offer_my_sessions")
    (left,) = db.superuser.execute("select %s - now() as left", (row["expires_at"],)).fetchall()
    assert 590 < left["left"].total_seconds() <= 600


def test_transfer__one_owner_cannot_fill_another_persons_invitations(db: Db) -> None:
    """Offers count as invitations from one, so a friend's invitation still fits."""
    db.superuser.execute("update asyouwere.settings set max_invitations_from_one = 3, max_invitations_received = 5")
    bob = db.user("bob")
    with db.acting_as("eve"):
        for _ in range(3):
            db.one("transfer_session", p_session_id=db.session("eve"), p_to_user=bob)
        with db.refuses("quota_exceeded"):
            db.one("transfer_session", p_session_id=db.session("eve"), p_to_user=bob)
        with db.refuses("quota_exceeded"):
            db.one("set_session_member", p_session_id=db.session("eve"), p_user_id=bob, p_role="viewer")
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.one("set_session_member", p_session_id=session_id, p_user_id=bob, p_role="viewer")


def test_transfer__open_invitations_end(db: Db) -> None:
    """They were the former owner's: the new one is asked for nothing, and nobody comes in whom nobody here invited."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.share(session_id, "ed")
        db.one("set_session_member", p_session_id=session_id, p_user_id=db.user("eve"), p_role="editor")
    transferred(db, session_id, "bob")
    with db.acting_as("bob"):
        db.one("accept_transfer", p_session_id=session_id)
        assert [m["user_id"] for m in db.call("list_session_members", p_session_id=session_id)] == [db.user("ed")]
    with db.acting_as("eve"), db.refuses("invitation_not_found"):
        db.one("accept_invitation", p_session_id=session_id)


def test_claim__open_invitations_stay_the_persons(db: Db) -> None:
    session_id = db.session("guest")
    with db.acting_as("guest"):
        db.one("set_session_member", p_session_id=session_id, p_user_id=db.user("eve"), p_role="viewer")
        code = db.one("offer_my_sessions")["code"]
    with db.acting_as("ada"):
        db.one("claim_sessions", p_code=code)
    with db.acting_as("eve"):
        assert db.call("list_invitations")[0]["invited_by"] == db.user("ada")
        db.one("accept_invitation", p_session_id=session_id)


def test_transfer__offers_count_as_invitations_sent(db: Db) -> None:
    db.superuser.execute("update asyouwere.settings set max_invitations_sent = 3")
    with db.acting_as("ada"):
        for name in ("bob", "eve"):
            db.one("transfer_session", p_session_id=db.session("ada"), p_to_user=db.user(name))
        db.one("set_session_member", p_session_id=db.session("ada"), p_user_id=db.user("ed"), p_role="viewer")
        for function, more in (
            ("transfer_session", {"p_to_user": db.user("vic")}),
            ("set_session_member", {"p_user_id": db.user("vic"), "p_role": "viewer"}),
        ):
            with db.refuses("quota_exceeded") as refused:
                db.one(function, p_session_id=db.session("ada"), **more)
            assert '"quota": "invitations_sent"' in (refused.value.diag.message_detail or "")
