"""Usage: recorded once, added up for a session and its owner, told to those it concerns, and what becomes of it."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.support.database import Db, Row


@pytest.fixture
def db(shared: Db) -> Db:
    return shared


def record(db: Db, session_id: UUID, cost: Any = "0.25", model: str = "large-1", **more: Any) -> Row:
    amounts = {"p_input_tokens": 1000, "p_output_tokens": 50, "p_cost": cost} | more
    return db.one("record_usage", p_session_id=session_id, p_model=model, **amounts)


def used(db: Db, session_id: UUID, **more: Any) -> Row:
    return db.one("get_session_usage", p_session_id=session_id, **more)


def rows_of(db: Db, table: str, session_id: UUID) -> int:
    column = "session" if table == "asyouwere.usage_records" else "session_id"
    key = "internal_id" if column == "session" else "id"
    (row,) = db.superuser.execute(
        f"select count(*) from {table} where {column} in"
        f" (select {key} from public.free_agent_sessions where id = %s)".encode(),
        (session_id,),
    ).fetchall()
    return int(row["count"])


# -- recording ---------------------------------------------------------------------------------------------------


def test_record__adds_up_by_session_model_and_day(db: Db) -> None:
    session_id = db.session("kim")
    with db.acting_as("kim"):
        assert record(db, session_id, p_cached_tokens=800) == {
            "recorded": True,
            "cost": Decimal("0.25"),
            "budget": None,
            "used": None,
            "user_cost": None,
            "user_budget": None,
            "user_used": None,
        }
        record(db, session_id, "0.5")
        assert record(db, session_id, "0.000001", "small-1")["cost"] == Decimal("0.750001")
        total = used(db, session_id)
        assert (total["calls"], total["input_tokens"], total["cached_tokens"], total["output_tokens"]) == (3, 3000, 800, 150)
        days = db.call("list_session_usage", p_session_id=session_id)
        assert [(row["model"], row["calls"], row["cost"]) for row in days] == [
            ("small-1", 1, Decimal("0.000001")),
            ("large-1", 2, Decimal("0.75")),
        ]
        assert {str(row["day"]) for row in days} == {db.value("select (now() at time zone 'UTC')::date::text")}
        (listed,) = db.call("list_sessions")
        assert (listed["cost"], listed["budget"]) == (Decimal("0.750001"), None)
        assert db.one("get_my_usage")["cost"] == Decimal("0.750001")


def test_record__money_adds_up_exactly(db: Db) -> None:
    session_id = db.session("penny")
    with db.acting_as("penny"):
        for _ in range(10):
            record(db, session_id, "0.1")
        assert used(db, session_id)["cost"] == 1  # as floats it would be 0.9999999999999999
        record(db, session_id, "0.0000000000004")  # below a millionth of a millionth: nothing
        assert used(db, session_id)["cost"] == 1


def test_record__a_retry_counts_once(db: Db) -> None:
    session_id = db.session()
    with db.acting_as("ada"):
        first = record(db, session_id, p_idempotency_key="k")
        again = record(db, session_id, "0.250", p_idempotency_key="k")  # the same amount, written otherwise
        assert (first["recorded"], again["recorded"], again["cost"]) == (True, False, Decimal("0.25"))
        for other in ({"cost": "0.26"}, {"model": "small-1"}, {"p_output_tokens": 51}, {"p_turn_id": uuid4()}):
            with db.refuses("idempotency_key_reused"):
                record(db, session_id, p_idempotency_key="k", **other)
        record(db, session_id, p_idempotency_key="l")
        assert used(db, session_id)["calls"] == 2
    other_session = db.session()
    with db.acting_as("ada"):
        assert record(db, other_session, p_idempotency_key="k")["recorded"]


def test_record__the_same_key_at_once_counts_once(db: Db) -> None:
    session_id = db.session()
    connections = [db.connect_as("ada") for _ in range(6)]
    together = threading.Barrier(len(connections))
    recorded: list[bool] = []

    def work(connection: Any) -> None:
        together.wait()
        row = db.call(
            "record_usage", on=connection, p_session_id=session_id, p_model="m", p_input_tokens=1,
            p_output_tokens=1, p_cost="1", p_idempotency_key="once",
        )  # fmt: skip
        recorded.append(row[0]["recorded"])

    db.call("record_usage", on=connections[0], p_session_id=session_id, p_model="m", p_input_tokens=0, p_output_tokens=0)
    threads = [threading.Thread(target=work, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(recorded) == [False] * 5 + [True]
    with db.acting_as("ada"):
        assert used(db, session_id)["cost"] == 1


@pytest.mark.parametrize(
    "amounts",
    [
        {"cost": "NaN"},
        {"cost": "Infinity"},
        {"cost": "-0.01"},
        {"cost": "-Infinity"},
        {"cost": None},
        {"cost": "1000000001"},
        {"p_input_tokens": -1},
        {"p_output_tokens": -1},
        {"p_output_tokens": None},
        {"p_input_tokens": 1_000_000_001},
        {"p_cached_tokens": 1001},
        {"p_cached_tokens": -1},
        {"model": ""},
        {"model": "m" * 201},
        {"p_idempotency_key": ""},
        {"p_idempotency_key": "k" * 256},
    ],
)
def test_record__what_is_no_amount_is_refused(db: Db, amounts: dict[str, Any]) -> None:
    session_id = db.session()
    with db.acting_as("ada"):
        with db.refuses("invalid_argument"):
            record(db, session_id, **amounts)
        assert used(db, session_id)["calls"] == 0


def test_record__a_number_with_a_thousand_digits_is_kept_short(db: Db) -> None:
    session_id = db.session()
    with db.acting_as("ada"):
        record(db, session_id, "0." + "1" * 1000)
        assert used(db, session_id)["cost"] == Decimal("0.111111111111")


def test_record__a_turn_knows_what_it_cost(db: Db) -> None:
    session_id, turn = db.session(), uuid4()
    with db.acting_as("ada"):
        record(db, session_id, p_turn_id=turn)
        record(db, session_id, "0.5", p_turn_id=turn)
        record(db, session_id, "4")
        assert used(db, session_id, p_turn_id=turn)["cost"] == Decimal("0.75")
        assert used(db, session_id, p_turn_id=turn)["calls"] == 2
        assert used(db, session_id, p_turn_id=uuid4())["calls"] == 0


def test_record__names_of_models_are_bounded_and_nobody_s_usage_goes_missing(db: Db) -> None:
    session_id, own = db.session("nora"), db.session("nora")
    with db.acting_as("nora"):
        db.share(session_id, "mel", "editor")
    db.superuser.execute("update asyouwere.settings set max_models_per_day = 3")
    try:
        with db.acting_as("mel"):
            for n in range(6):  # made up, in a session of somebody else's
                record(db, session_id, model=f"m{n}")
        with db.acting_as("nora"):
            record(db, own, model="large-1")
            record(db, own, model="m0")
            of_session = {row["model"]: row["calls"] for row in db.call("list_session_usage", p_session_id=session_id)}
            assert of_session == {"m0": 1, "m1": 1, "m2": 1, "other": 3}
            of_own = {row["model"]: row["calls"] for row in db.call("list_session_usage", p_session_id=own)}
            assert of_own == {"large-1": 1, "m0": 1}
            mine = {row["model"]: row["calls"] for row in db.sql("select model, calls from public.user_usage")}
            assert mine == {"m0": 2, "m1": 1, "m2": 1, "other": 4}
            assert used(db, session_id)["cost"] == Decimal("1.5")
        with db.acting_as("service"):  # which says what is billed
            record(db, own, model="m7")
            assert {row["model"] for row in db.call("list_session_usage", p_session_id=own)} == {"large-1", "m0", "m7"}
    finally:
        db.superuser.execute("update asyouwere.settings set max_models_per_day = default")


def test_record__takes_a_token_each(db: Db) -> None:
    session_id = db.session("toby")
    db.superuser.execute("update asyouwere.settings set writes_per_second = 0.001, writes_at_once = 3")
    try:
        with db.acting_as("toby"), db.refuses("rate_limited"):
            for _ in range(5):
                record(db, session_id)
    finally:
        db.superuser.execute("update asyouwere.settings set writes_per_second = 50, writes_at_once = 2000")


def test_record__a_save_under_way_is_not_waited_for(db: Db) -> None:
    session_id = db.session("sven")
    with db.acting_as("sven"):
        db.share(session_id, "ed", "editor")
    saving = db.connect_as("sven")
    saving.autocommit = False
    db.call("create_session_snapshot", on=saving, p_session_id=session_id, p_state={"n": 1})
    with db.acting_as("ed"):  # whose bucket nobody holds
        db.sql("set statement_timeout = '30s'")
        assert record(db, session_id)["recorded"]
    saving.rollback()


# -- who -----------------------------------------------------------------------------------------------------------


def test_record__by_an_editor_is_paid_by_the_owner(db: Db) -> None:
    session_id = db.session("olga")
    with db.acting_as("service"):
        db.one("set_user_budget", p_user_id=db.user("olga"), p_budget=1)
    with db.acting_as("olga"):
        db.share(session_id, "ed", "editor")
        db.share(session_id, "vi", "viewer")
    with db.acting_as("ed"):
        assert record(db, session_id)["user_cost"] is None  # what the owner does elsewhere is not the editor's
        assert db.one("get_my_usage")["cost"] == 0
    with db.acting_as("vi"):
        with db.refuses("forbidden"):
            record(db, session_id)
        assert used(db, session_id)["cost"] == Decimal("0.25")
    with db.acting_as("olga"):
        assert record(db, session_id)["user_used"] == Decimal("0.5")
    with db.acting_as("service"):
        assert record(db, session_id)["user_used"] == Decimal("0.75")


def test_cost__a_public_session_tells_it_to_nobody_but_members(db: Db) -> None:
    session_id = db.session("pat")
    with db.acting_as("pat"):
        db.share(session_id, "vi", "viewer")
        db.one("update_session", p_session_id=session_id, p_changes={"visibility": "public"})
        record(db, session_id)
        db.one("set_session_budget", p_session_id=session_id, p_budget=5)
    for who, cost in (("pat", Decimal("0.25")), ("vi", Decimal("0.25")), ("eve", None), (None, None)):
        with db.acting_as(who):
            shown = db.one("get_session", p_session_id=session_id)
            assert (shown["cost"], shown["budget"]) == (cost, cost and 5), who
            if who:
                assert bool(db.sql("select 1 from public.session_usage where session_id = %s", (session_id,))) == bool(cost)
                exported = "".join(str(row["export_session"]) for row in db.call("export_session", p_session_id=session_id))
                assert ('"cost":0.25' in exported) == bool(cost), who
    with db.acting_as("eve"), db.refuses("forbidden"):
        used(db, session_id)


def test_cost__a_member_of_a_session_made_private_again_reads_nothing(db: Db) -> None:
    session_id = db.session("priya")
    with db.acting_as("priya"):
        db.share(session_id, "vi", "viewer")
        record(db, session_id)
        db.one("update_session", p_session_id=session_id, p_changes={"visibility": "private"})
    with db.acting_as("vi"):
        with db.refuses("session_not_found"):
            used(db, session_id)
        assert db.sql("select 1 from public.session_usage where session_id = %s", (session_id,)) == []
        assert db.sql("select 1 from asyouwere.session_costs where session_id = %s", (session_id,)) == []


@pytest.mark.parametrize("table", ["public.session_usage", "public.user_usage", "asyouwere.session_costs"])
@pytest.mark.parametrize("who", ["ada", "service"])
def test_tables__are_written_by_the_functions_only(db: Db, table: str, who: str) -> None:
    with db.acting_as(who):
        for statement in (f"update {table} set cost = 0", f"delete from {table}", f"insert into {table} default values"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.sql(statement)


# -- budgets -------------------------------------------------------------------------------------------------------


def test_budget__of_a_session_says_how_much_is_used_and_refuses_nothing(db: Db) -> None:
    session_id = db.session()
    with db.acting_as("ada"):
        assert db.one("set_session_budget", p_session_id=session_id, p_budget="2")["used"] == 0
        assert record(db, session_id, "1.6")["used"] == Decimal("0.8")
        assert record(db, session_id, "1.4")["used"] == Decimal("1.5")
        assert used(db, session_id)["budget"] == 2
        without = db.one("set_session_budget", p_session_id=session_id, p_budget=None)
        assert (without["budget"], without["used"], without["cost"]) == (None, None, 3)


@pytest.mark.parametrize("budget", ["0", "-1", "NaN", "Infinity", "1000000000001"])
def test_budget__what_is_none_is_refused(db: Db, budget: str) -> None:
    session_id = db.session()
    with db.acting_as("ada"), db.refuses("invalid_argument"):
        db.one("set_session_budget", p_session_id=session_id, p_budget=budget)
    with db.acting_as("service"), db.refuses("invalid_argument"):
        db.one("set_user_budget", p_user_id=db.user("ada"), p_budget=budget)


def test_budget__of_a_person_counts_the_period(db: Db) -> None:
    session_id, dana = db.session("dana"), db.user("dana")
    with db.acting_as("dana"):
        record(db, session_id, "3")
    today = db.value("select (now() at time zone 'UTC')::date")
    first = today.replace(day=1)
    for day, cost in ((first - (today - first) / 2 if today != first else first, 0), (first.replace(year=first.year - 1), 50)):
        if cost:
            db.superuser.execute(
                "insert into public.user_usage (user_id, day, model, cost) values (%s, %s, 'old', %s)", (dana, day, cost)
            )
    with db.acting_as("service"):
        month = db.one("set_user_budget", p_user_id=dana, p_budget=4)
        assert (month["period"], month["since"], month["cost"], month["used"]) == ("month", first, 3, Decimal("0.75"))
        day = db.one("set_user_budget", p_user_id=dana, p_budget=6, p_period="day")
        assert (day["since"], day["used"]) == (today, Decimal("0.5"))
        for period in ("year", "ever", "", None):
            with db.refuses("invalid_argument"):
                db.one("set_user_budget", p_user_id=dana, p_budget=6, p_period=period)
        with db.refuses("not_signed_in"):
            db.one("get_my_usage")
    with db.acting_as("dana"):
        assert db.one("get_my_usage")["used"] == Decimal("0.5")
        with db.refuses("forbidden"):
            db.one("get_my_usage", p_user_id=db.user("ada"))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.one("set_user_budget", p_user_id=dana, p_budget=100)
    with db.acting_as("service"):
        assert db.one("set_user_budget", p_user_id=dana, p_budget=None)["budget"] is None


# -- what becomes of it ---------------------------------------------------------------------------------------------


def test_deleting_a_session__gives_its_owner_no_budget_back(db: Db) -> None:
    session_id = db.session("del")
    with db.acting_as("del"):
        record(db, session_id, p_idempotency_key="k")
        assert rows_of(db, "asyouwere.usage_records", session_id) == 1
        (internal,) = db.superuser.execute(
            "select internal_id from public.free_agent_sessions where id = %s", (session_id,)
        ).fetchall()
        db.one("delete_session", p_session_id=session_id)
        assert db.one("get_my_usage")["cost"] == Decimal("0.25")
        assert db.sql("select 1 from public.session_usage where session_id = %s", (session_id,)) == []
    left = db.superuser.execute(
        "select 1 from asyouwere.usage_records where session = %s", (internal["internal_id"],)
    ).fetchall()
    assert left == []


def test_forking__costs_begin_anew(db: Db) -> None:
    session_id = db.session("fay")
    with db.acting_as("fay"):
        db.save(session_id, {"n": 1})
        record(db, session_id)
        db.one("set_session_budget", p_session_id=session_id, p_budget=1)
        fork = db.one("fork_session", p_session_id=session_id)["id"]
        assert (used(db, fork)["cost"], used(db, fork)["budget"]) == (0, None)


def test_transfer__the_session_takes_its_costs_along_and_each_owner_pays_their_own(db: Db) -> None:
    session_id = db.session("tess")
    with db.acting_as("tess"):
        record(db, session_id)
        db.one("transfer_session", p_session_id=session_id, p_to_user=db.user("uma"))
    with db.acting_as("uma"):
        db.one("accept_transfer", p_session_id=session_id)
        assert used(db, session_id)["cost"] == Decimal("0.25")
        assert db.one("get_my_usage")["cost"] == 0
        record(db, session_id, "2")
        assert db.one("get_my_usage")["cost"] == 2
    with db.acting_as("tess"):
        assert db.one("get_my_usage")["cost"] == Decimal("0.25")
        with db.refuses("session_not_found"):
            record(db, session_id)


def test_import__brings_no_costs(db: Db) -> None:
    document = {"p_snapshots": [], "p_paths": [], "p_items": [], "p_since": [], "p_until": [], "p_created_at": [], "p_bodies": []}
    with db.acting_as("ada"):
        forged = {"usage": {"calls": 1, "cost": -1000, "budget": 5}}
        session_id = db.one("import_session", p_session=forged, **document)["id"]
        assert (used(db, session_id)["cost"], used(db, session_id)["budget"]) == (0, None)


def test_erasing_a_person__takes_their_sums_and_budget(db: Db) -> None:
    session_id = db.session("erin")
    with db.acting_as("service"):
        db.one("set_user_budget", p_user_id=db.user("erin"), p_budget=4)
    with db.acting_as("erin"):
        record(db, session_id)
        while not db.one("delete_my_data")["done"]:
            pass
        mine = db.one("get_my_usage")
        assert (mine["cost"], mine["budget"]) == (0, None)
        assert db.sql("select 1 from public.user_usage") == []


def test_an_account_being_deleted__records_nothing_more(db: Db) -> None:
    session_id = db.session("gone")
    db.superuser.execute("insert into asyouwere.erasures (user_id, account_gone) values (%s, true)", (db.user("gone"),))
    with db.acting_as("gone"), db.refuses("forbidden"):
        record(db, session_id)
    with db.acting_as("service"), db.refuses("forbidden"):
        db.one("set_user_budget", p_user_id=db.user("gone"), p_budget=4)


def test_cleanup__takes_old_records_and_sums_and_leaves_the_session_its_own(db: Db) -> None:
    session_id, cleo = db.session("cleo"), db.user("cleo")
    with db.acting_as("cleo"):
        record(db, session_id, p_idempotency_key="old")
    db.superuser.execute(
        "update asyouwere.usage_records set recorded_at = now() - interval '31 days' where session ="
        " (select internal_id from public.free_agent_sessions where id = %s)",
        (session_id,),
    )
    for days in (399, 402):
        db.superuser.execute(
            "insert into public.user_usage (user_id, day, model) values (%s, now() - make_interval(days => %s), 'old')",
            (cleo, days),
        )
    with db.acting_as("service"):
        while not db.one("cleanup_old_snapshots")["done"]:
            pass
    assert rows_of(db, "asyouwere.usage_records", session_id) == 0
    with db.acting_as("cleo"):
        assert db.value("select count(*) from public.user_usage") == 2
        assert used(db, session_id)["calls"] == 1


def test_list__pages_by_day_and_model(db: Db) -> None:
    session_id = db.session()
    with db.acting_as("ada"):
        for model in "cabed":
            record(db, session_id, model=model)
    db.superuser.execute(
        "insert into public.session_usage (session_id, day, model) values (%s, '2026-01-01', 'a'), (%s, '2026-01-01', 'z')",
        (session_id, session_id),
    )
    found: list[str] = []
    page: list[Row] = []
    with db.acting_as("ada"):
        while page or not found:
            last = {"p_before": str(page[-1]["day"]), "p_before_model": page[-1]["model"]} if page else {}
            page = db.call("list_session_usage", p_session_id=session_id, p_limit=2, **last)
            found += [row["model"] for row in page]
        assert found == ["e", "d", "c", "b", "a", "z", "a"]
        assert db.call("list_session_usage", p_session_id=session_id, p_limit=-1) == []
