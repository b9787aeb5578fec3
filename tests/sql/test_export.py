"""A session taken along and back in, and imports that somebody has tampered with."""

from __future__ import annotations

import copy
import json
from datetime import UTC, timedelta
from typing import Any
from uuid import UUID

import pytest

from asyouwere.service.export import Reader
from asyouwere.state import exact_json
from tests.sql.states import change, change_text, save_text, state_of, text_of
from tests.support.database import Db, Row


def export(db: Db, session_id: UUID) -> str:
    return "".join(row["export_session"] for row in db.call("export_session", p_session_id=session_id))


def import_text(db: Db, text: str) -> Row:
    """Import as the function does it: bodies as the very text they are, all else as values."""
    document = exact_json.members(exact_json.parse(text.encode(), max_depth=100))
    columns: list[list[Any]] = [[] for _ in range(6)]
    for part in exact_json.items(document["parts"]):
        fields = exact_json.items(part)
        for column, field in zip(columns[:5], fields[:5], strict=True):
            column.append(json.loads(field))
        columns[5].append(fields[5])
    return import_columns(db, document["session"], document["snapshots"], *columns)


def import_columns(db: Db, session: Any, snapshots: Any, *columns: list[Any] | None) -> Row:
    names = ("p_paths", "p_items", "p_since", "p_until", "p_created_at", "p_bodies")
    return db.one("import_session", p_session=session, p_snapshots=snapshots, **dict(zip(names, columns, strict=True)))


@pytest.fixture
def session_id(db: Db):
    """A session of ada's with some history, of which a part is pruned; whoever uses it acts as ada."""
    session_id = db.session(
        "ada", name="näme", model="m", metadata={"a": [1]}, upstream={"provider": "p"}, key="k", visibility="public"
    )
    with db.acting_as("ada"):
        save_text(db, session_id, '{"messages":[{"content":"\\u0000"}],"":{"a/b":{"~":-0}},"x\\ud800":{}}', p_label="one")
        for n in range(2, 6):
            change(db, session_id, {"append": {"/messages": [n]}, "set": {"/step": n}})
        db.save(session_id, {"messages": [], "step": 1e23, "l": [[], {}]}, p_label="6 ✓")
        change_text(db, session_id, '{"set":{"/l/1":"\\ud800","/n":1e23},"remove":["/step"]}')
        with db.acting_as("service"):
            while not db.one("cleanup_old_snapshots", p_keep=3, p_older_than="0")["done"]:
                pass
        yield session_id


def test_export__is_one_document(db: Db, session_id) -> None:
    text = export(db, session_id)
    exact_json.parse(text.encode())
    document = json.loads(text)
    assert list(document) == ["format", "version", "session", "snapshots", "parts"]
    assert (document["format"], document["version"]) == ("asyouwere-session", 1)
    assert document["session"]["id"] == str(session_id)
    assert [(row["number"], row["label"]) for row in document["snapshots"]] == [(1, "one"), (5, None), (6, "6 ✓"), (7, None)]
    assert all(len(part) == 6 for part in document["parts"])
    paths = [part[0] for part in document["parts"]]
    assert "//a~1b/" in paths
    assert "/x\\ud800/" in paths
    alive = [part for part in document["parts"] if part[3] is None]
    assert ["/messages/", -1, 1, None] in [part[:4] for part in alive]


def test_export__of_a_session_never_saved(db: Db) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        document = json.loads(export(db, session_id))
        assert (document["snapshots"], document["parts"]) == ([], [])
        assert import_text(db, export(db, session_id))["latest_number"] == 0


def test_export__more_parts_than_a_chunk_has(db: Db) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        for count in (31, 32, 33, 100):
            db.save(session_id, {"messages": list(range(count))})
        assert len(json.loads(export(db, session_id))["parts"]) == 101


def test_import__round_trip(db: Db, session_id) -> None:
    with db.acting_as("ada"):
        original = db.one("get_session", p_session_id=session_id)
        text = export(db, session_id)
        texts = {n: text_of(db, session_id, n) for n in (1, 5, 6, 7)}
        snapshots = db.call("list_snapshots", p_session_id=session_id)
    with db.acting_as("bob"):
        row = import_text(db, text)
        imported = row["id"]
        assert (row["user_id"], row["visibility"], row["key"]) == (db.user("bob"), "private", None)
        same = ("name", "model", "kind", "status", "upstream", "metadata", "expires_after", "created_at")
        assert {name: row[name] for name in same} == {name: original[name] for name in same}
        counts = ("latest_number", "size_bytes", "message_count")
        assert {name: row[name] for name in counts} == {name: original[name] for name in counts}
        assert {n: text_of(db, imported, n) for n in texts} == texts
        assert [{**each, "session_id": session_id} for each in db.call("list_snapshots", p_session_id=imported)] == snapshots
        # It says the same, but for who it is; and it lives on.
        again, first = json.loads(export(db, imported)), json.loads(text)
        assert (again["parts"], again["snapshots"]) == (first["parts"], first["snapshots"])
        with db.refuses("snapshot_gone"):
            state_of(db, imported, 3)
        assert change(db, imported, {"append": {"/messages": ["new"]}}, p_base=6)["number"] == 8
        with db.acting_as("service"):
            while not db.one("cleanup_old_snapshots", p_keep=1, p_older_than="0")["done"]:
                pass
        assert [n["number"] for n in db.call("list_snapshots", p_session_id=imported)] == [8, 6, 1]
        assert text_of(db, imported, 6) == texts[6]


@pytest.mark.parametrize(
    ("kind", "seconds", "expected"),
    [
        ("agent", None, None),
        ("agent", 60, timedelta(minutes=1)),
        ("chat", None, timedelta(minutes=30)),
        ("chat", 0, None),
    ],
)
def test_import__expiry(db: Db, kind: str, seconds: int | None, expected: timedelta | None) -> None:
    session_id = db.session("ada", kind=kind, expires_after_seconds=seconds)
    with db.acting_as("ada"):
        assert import_text(db, export(db, session_id))["expires_after"] == expected


def test_import__an_expired_session_is_idle(db: Db) -> None:
    session_id = db.session("ada", kind="chat")
    db.superuser.execute("update public.free_agent_sessions set status = 'expired', expired_at = now()")
    with db.acting_as("ada"):
        row = import_text(db, export(db, session_id))
    assert (row["status"], row["expired_at"]) == ("idle", None)


# -- imports that somebody has tampered with ----------------------------------------------------------------------

PART = ["/a/", -1, 1, None, "2026-01-01T00:00:00Z", 1]
LIST = ["/l/", -1, 1, None, "2026-01-01T00:00:00Z", []]
FAIR = {
    "format": "asyouwere-session",
    "version": 1,
    "session": {"latest_number": 3, "pruned_through": 0},
    "snapshots": [{"number": n} for n in (1, 2, 3)],
    "parts": [PART, LIST, ["/l/", 0, 1, 2, "2026-01-01T00:00:00Z", "x"], ["/l/", 0, 2, None, "2026-01-01T00:00:00Z", "y"]],
}


def parts(*rows: list[Any]) -> dict[str, Any]:
    return {"parts": [[*row, "2026-01-01T00:00:00Z", 1][:6] if len(row) < 6 else row for row in rows]}


def row(path: Any, item: Any, since: Any, until: Any, body: Any = 1) -> list[Any]:
    return [path, item, since, until, "2026-01-01T00:00:00Z", body]


HOSTILE: dict[str, dict[str, Any]] = {
    "two lifespans overlap": parts(row("/a/", -1, 1, 3), row("/a/", -1, 2, None)),
    "two are alive": parts(row("/a/", -1, 1, None), row("/a/", -1, 2, None)),
    "the same twice": parts(row("/a/", -1, 1, 2), row("/a/", -1, 1, 2)),
    "no lifespan": parts(row("/a/", -1, 2, 2)),
    "a lifespan that ends before it begins": parts(row("/a/", -1, 3, 2)),
    "before the first number": parts(row("/a/", -1, 0, None)),
    "negative": parts(row("/a/", -1, -5, None)),
    "after the latest number": parts(row("/a/", -1, 4, None)),
    "ends after the latest number": parts(row("/a/", -1, 1, 4)),
    "a gap in a list": parts(LIST, row("/l/", 1, 1, None)),
    "a gap in a list at one number": parts(
        LIST, row("/l/", 0, 1, 2), row("/l/", 0, 3, None), row("/l/", 1, 1, None)
    ),
    "a list begun at its second item": parts(LIST, row("/l/", 1, 1, 2), row("/l/", 0, 2, None), row("/l/", 1, 2, None)),
    "the largest item alone": parts(LIST, row("/l/", 2147483647, 1, None)),
    "a container with a break": parts(
        row("/a/", -1, 1, 2, {}), row("/a/", -1, 2, None, {}), row("/a/b/", -1, 1, None)
    ),
    "an item without list": parts(row("/l/", 0, 1, None)),
    "an item in an object": parts(row("/l/", -1, 1, None, {}), row("/l/", 0, 1, None)),
    "an item that outlives its list": parts(row("/l/", -1, 1, 2, []), row("/l/", 0, 1, None)),
    "an item below -1": parts(row("/a/", -2, 1, None)),
    "a member without container": parts(row("/a/b/", -1, 1, None)),
    "a member in a list": parts(LIST, row("/l/b/", -1, 1, None)),
    "a member in a value": parts(PART, row("/a/b/", -1, 1, None)),
    "a member that outlives its container": parts(row("/a/", -1, 1, 2, {}), row("/a/b/", -1, 1, 3)),
    "a container not opened": parts(row("/a/", -1, 1, None, {"b": 1})),
    "a list in an item of depth 3": parts(
        row("/a/", -1, 1, None, {}), row("/a/b/", -1, 1, None, {}), row("/a/b/c/", -1, 1, None, []), row("/a/b/c/", 0, 1, None)
    ),
    "the root": parts(row("/", -1, 1, None, {})),
    "too deep": parts(
        row("/a/", -1, 1, None, {}),
        row("/a/b/", -1, 1, None, {}),
        row("/a/b/c/", -1, 1, None, {}),
        row("/a/b/c/d/", -1, 1, None),
    ),
    "no path": parts(row("a", -1, 1, None)),
    "an empty path": parts(row("", -1, 1, None)),
    "a path that breaks out": parts(row('/a":1,"b/', -1, 1, None)),
    "a raw line feed": parts(row("/a\n/", -1, 1, None)),
    "another spelling": parts(row("/\\u000a/", -1, 1, None)),
    "a lone tilde": parts(row("/~/", -1, 1, None)),
    "a null path": parts(row(None, -1, 1, None)),
    "a null item": parts(row("/a/", None, 1, None)),
    "a null since": parts(row("/a/", -1, None, None)),
    "latest without snapshot": {"session": {"latest_number": 4}},
    "latest below a snapshot": {"session": {"latest_number": 2}},
    "latest negative": {"session": {"latest_number": -1}, "snapshots": [], "parts": []},
    "latest not a number": {"session": {"latest_number": "x"}},
    "latest too large": {"session": {"latest_number": 2**31}},
    "no snapshots": {"snapshots": []},
    "a snapshot number twice": {"snapshots": [{"number": n} for n in (1, 2, 3, 3)]},
    "a snapshot number 0": {"snapshots": [{"number": n} for n in (0, 1, 2, 3)]},
    "a snapshot number null": {"snapshots": [{"number": n} for n in (None, 1, 2, 3)]},
    "snapshots no list": {"snapshots": {}},
    "snapshots of no objects": {"snapshots": [1, 2, 3]},
    "a label twice": {"snapshots": [{"number": n, "label": "same"} for n in (1, 2, 3)]},
    "an empty label": {"snapshots": [{"number": n, "label": ""} for n in (3,)], "parts": []},
    "a long label": {"snapshots": [{"number": n, "label": "x" * 201} for n in (3,)], "parts": []},
    "session no object": {"session": []},
    "session null": {"session": None},
    "unknown status": {"session": {"latest_number": 3, "status": "x"}},
    "unknown kind": {"session": {"latest_number": 3, "kind": "x"}},
    "long name": {"session": {"latest_number": 3, "name": "x" * 501}},
    "metadata no object": {"session": {"latest_number": 3, "metadata": [1]}},
    "negative expiry": {"session": {"latest_number": 3, "expires_after_seconds": -1}},
    "endless expiry": {"session": {"latest_number": 3, "expires_after_seconds": 10**18}},
    "a time that is none": {"session": {"latest_number": 3, "created_at": "yesterday or so"}},
}


def test_import__the_fair_one_passes(shared: Db) -> None:
    with shared.acting_as("ada"):
        imported = import_text(shared, json.dumps(FAIR))["id"]
        assert [state_of(shared, imported, n) for n in (1, 2, 3)] == [{"a": 1, "l": ["x"]}] + [{"a": 1, "l": ["y"]}] * 2


def test_import__a_gap_where_no_number_is_kept_is_none(shared: Db) -> None:
    document = {**copy.deepcopy(FAIR), "snapshots": [{"number": n} for n in (1, 3)]}
    document["parts"] = parts(
        LIST, row("/l/", 0, 1, 2), row("/l/", 0, 3, None), row("/l/", 1, 1, None), row("/l/", 2, 1, 2, "z")
    )["parts"]
    with shared.acting_as("ada"):
        imported = import_text(shared, json.dumps(document))["id"]
        assert [state_of(shared, imported, n) for n in (1, 3)] == [{"l": [1, 1, "z"]}, {"l": [1, 1]}]

@pytest.mark.parametrize("case", HOSTILE)
def test_import__tampered(shared: Db, case: str) -> None:
    document = {**copy.deepcopy(FAIR), **HOSTILE[case]}
    with shared.acting_as(f"eve, {case}"):
        with shared.refuses("invalid_argument"):
            import_text(shared, json.dumps(document))
        assert shared.call("list_sessions", p_archived=None) == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{", "invalid_argument"),
        ("1,2", "invalid_argument"),
        ("", "invalid_argument"),
        (None, "invalid_argument"),
        ("1e309", "number_out_of_range"),
        ("[" * 64 + "]" * 64, "nesting_too_deep"),
    ],
)
def test_import__tampered_bodies(shared: Db, body: str | None, code: str) -> None:
    fair = json.loads(json.dumps(FAIR))
    with shared.acting_as("eve"):
        with shared.refuses(code):
            import_columns(
                shared, fair["session"], fair["snapshots"], ["/l/", "/l/"], [-1, 0], [1, 1], [None, None], [None, None], ["[]", body]
            )
        assert shared.call("list_sessions") == []


def test_import__tampered_columns(shared: Db) -> None:
    session, snapshots = {"latest_number": 1}, [{"number": 1}]
    columns: list[list[Any] | None] = [["/a/"], [-1], [1], [None], [None], ["1"]]
    with shared.acting_as("eve"):
        for n in (0, 1, 2, 5):
            longer = [*columns]
            longer[n] = [*(columns[n] or []), (columns[n] or [])[0]]
            with shared.refuses("invalid_argument"):
                import_columns(shared, session, snapshots, *longer)
            without = [*columns]
            without[n] = None
            with shared.refuses("invalid_argument"):
                import_columns(shared, session, snapshots, *without)
        with shared.refuses("invalid_argument"):
            import_columns(shared, None, snapshots, *columns)
        with shared.refuses("invalid_argument"):
            import_columns(shared, "null", snapshots, *columns)
        with shared.refuses("address_too_long"):
            import_columns(shared, session, snapshots, ["/" + "k" * 2000 + "/"], *columns[1:])
        assert shared.call("list_sessions") == []
        assert import_columns(shared, session, snapshots, *columns)["latest_number"] == 1


@pytest.mark.parametrize(
    ("time", "year"),
    [("2999-01-01T00:00:00Z", 0), ("infinity", 0), ("-infinity", 1970), ("4000-01-01 BC", 1970), ("2020-02-02T00:00:00Z", 2020)],
)
def test_import__times_are_believable(shared: Db, time: str, year: int) -> None:
    document = copy.deepcopy(FAIR)
    for snapshot in document["snapshots"]:
        snapshot["created_at"] = time
    document["session"].update(created_at=time, archived_at=time)
    document["parts"].append(["/messages/", -1, 1, None, time, []])
    document["parts"].append(["/messages/", 0, 1, None, time, "hi"])
    with shared.acting_as("ada"):
        imported = import_text(shared, json.dumps(document))
        times = [imported["created_at"], imported["archived_at"]]
        times += [row["created_at"] for row in shared.call("list_snapshots", p_session_id=imported["id"])]
        times += [row["created_at"] for row in shared.call("list_messages", p_session_id=imported["id"])]
        now = shared.value("select now()")
    assert len(times) == 6
    if year:
        assert {time.astimezone(UTC).year for time in times} == {year}
    else:
        assert all(timedelta(0) <= now - time < timedelta(minutes=1) for time in times)


def test_import__sizes_are_counted_not_believed(shared: Db) -> None:
    document = copy.deepcopy(FAIR)
    document["parts"] += [row("/messages/", -1, 2, None, []), row("/messages/", 0, 2, None, "ü")]
    document["session"].update(size_bytes=0, message_count=99)
    for snapshot in document["snapshots"]:
        snapshot.update(size_bytes=-5, message_count=99)
    with shared.acting_as("ada"):
        imported = import_text(shared, json.dumps(document, ensure_ascii=False))
        counts = shared.call("list_snapshots", p_session_id=imported["id"])
    assert [(row["size_bytes"], row["message_count"]) for row in counts] == [(541, 1), (541, 1), (315, 0)]
    assert (imported["size_bytes"], imported["message_count"]) == (541, 1)


def test_import__odd_counts_are_put_right(shared: Db) -> None:
    document = copy.deepcopy(FAIR)
    document["session"]["pruned_through"] = 99
    for snapshot in document["snapshots"]:
        snapshot["changed_parts"] = -snapshot["number"]
    with shared.acting_as("ada"):
        imported = import_text(shared, json.dumps(document))
        assert imported["pruned_through"] == 2
        assert [row["changed_parts"] for row in shared.call("list_snapshots", p_session_id=imported["id"])] == [0, 0, 0]


def test_import__too_large(db: Db) -> None:
    db.superuser.execute("update asyouwere.settings set max_state_bytes = 1024 * 1024")
    document = {**FAIR, **parts(row("/a/", -1, 1, None, "x" * 1024 * 1024))}
    with db.acting_as("eve"):
        with db.refuses("too_large"):
            import_text(db, json.dumps(document))
        assert db.call("list_sessions") == []
    # also if only an older number is
    document = {**FAIR, **parts(row("/a/", -1, 1, 2, "x" * 1024 * 1024))}
    with db.acting_as("eve"), db.refuses("too_large"):
        import_text(db, json.dumps(document))


def test_import__needs_an_owner(shared: Db) -> None:
    for who in (None, "service"):
        with shared.acting_as(who), pytest.raises(Exception, match="permission denied"):
            import_text(shared, json.dumps(FAIR))


def pages(db: Db, session_id: UUID, **wanted: Any) -> tuple[str, list[str]]:
    """The head and the parts of all pages."""
    head, parts, page = "", [], None
    for _ in range(1000):
        rows = [row["export_session_page"] for row in db.call(
            "export_session_page", p_session_id=session_id, p_page=page, **wanted)]
        assert len(rows) <= 902
        assert sum(map(len, rows)) < 5_000_000
        head += rows[1]
        parts += rows[2:]
        if rows[0] == "null":
            return head, parts
        page = rows[0]
    raise AssertionError("no last page")


def test_export_page__all_pages_are_the_document(db: Db, session_id) -> None:
    head, parts = pages(db, session_id)
    whole = json.loads(export(db, session_id))
    paged = json.loads(head + ",".join(parts) + "]}")
    assert sorted(paged.pop("parts"), key=str) == sorted(whole.pop("parts"), key=str)
    assert paged == whole


def many_snapshots(db: Db, session_id: UUID, count: int, metadata_bytes: int) -> None:
    """So many, each with its label, as if it had been saved so often."""
    db.superuser.execute(
        "insert into public.session_snapshots (session_id, number, size_bytes, changed_parts, message_count, label, metadata) "
        "select %(session)s, n, 1, 1, 0, 'l' || n, jsonb_build_object('a', repeat('é', %(size)s / 2)) "
        "from generate_series(1, %(count)s) n",
        {"session": session_id, "count": count, "size": metadata_bytes},
    )
    db.superuser.execute(
        "update public.free_agent_sessions set latest_number = %s where id = %s", (count, session_id))


@pytest.mark.parametrize(("count", "size"), [(1, 10), (300, 10), (301, 10), (700, 10), (600, 8000)])
def test_export__many_snapshots_come_in_bounded_rows(db: Db, count: int, size: int) -> None:
    session_id = db.session("ada")
    many_snapshots(db, session_id, count, size)
    with db.acting_as("ada"):
        head, parts = pages(db, session_id)  # bounds each page
        rows = [row["export_session"] for row in db.call("export_session", p_session_id=session_id)]
    assert max(map(len, rows)) < 300_000
    assert len(rows) < 1000
    paged, whole = json.loads(head + ",".join(parts) + "]}"), json.loads("".join(rows))
    assert paged == whole
    assert [row["number"] for row in paged["snapshots"]] == list(range(1, count + 1))
    assert {len(row["metadata"]["a"]) for row in paged["snapshots"]} == {size // 2}


def test_export_page__latest_only_sums_many_snapshots_up(db: Db) -> None:
    session_id = db.session("ada")
    many_snapshots(db, session_id, 700, 8000)
    db.superuser.execute("update public.session_snapshots set label = null where number in (1, 700)")
    with db.acting_as("ada"):
        head, _ = pages(db, session_id, p_latest_only=True)
    assert len(head) < 4000
    facts = dict(Reader(head).facts)
    assert facts["Snapshots"] == "700 kept, numbers 1 to 700"
    assert facts["Labels"].startswith("686 more, l688 (688), ")
    assert facts["Labels"].endswith(", l699 (699)")


def test_export_page__a_save_between_pages_of_snapshots_does_not_show(db: Db) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, {"a": 1})
        db.superuser.execute("delete from public.session_snapshots where session_id = %s", (session_id,))
        many_snapshots(db, session_id, 301, 10)
        page, head = (row["export_session_page"] for row in db.call("export_session_page", p_session_id=session_id))
        assert change(db, session_id, {"set": {"/a": 2}})["number"] == 302
        rows = db.call("export_session_page", p_session_id=session_id, p_page=page)
    end, rest, *parts = (row["export_session_page"] for row in rows)
    assert end == "null"
    document = json.loads(head + rest + ",".join(parts) + "]}")
    assert [row["number"] for row in document["snapshots"]] == list(range(1, 302))
    assert [part[5] for part in document["parts"]] == [1]


def test_export_page__latest_only_is_what_is_alive_in_order(db: Db, session_id) -> None:
    _, parts = pages(db, session_id, p_latest_only=True)
    alive = [part for part in json.loads(export(db, session_id))["parts"] if part[3] is None]
    assert [json.loads(part) for part in parts] == sorted(alive, key=lambda part: (part[0].encode(), part[1]))


@pytest.mark.parametrize("latest_only", [True, False])
def test_export_page__is_bounded_and_sees_no_save_in_between(db: Db, latest_only: bool) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, {"messages": ["x" * 900_000] * 5 + list(range(2000))})
        before = sorted(json.loads(export(db, session_id))["parts"], key=str)
        seen: list[Any] = []
        page, count = None, 0
        while True:
            rows = [row["export_session_page"] for row in db.call(
                "export_session_page", p_session_id=session_id, p_page=page, p_latest_only=latest_only)]
            assert len(rows) <= 902
            assert sum(map(len, rows)) < 4_000_000
            seen += [json.loads(row) for row in rows[2:]]
            page, count = (rows[0] if rows[0] != "null" else None), count + 1
            if page is None:
                break
            change(db, session_id, {"set": {f"/messages/{2000 - count}": "changed"}, "append": {"/messages": [count]}})
        assert count == 4
        assert sorted(seen, key=str) == before


READ = "select seq_tup_read + idx_tup_fetch from pg_stat_xact_all_tables where relname = 'parts'"


def test_export_page__latest_only_reads_no_history(db: Db) -> None:
    """However much of it there is, and whether or not somebody saves in between: a page costs what it hands out."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, {"messages": list(range(1500)), "memory": {"a": 0}})
        for lap in range(8):
            db.save(session_id, {"messages": [f"{lap} {n}" for n in range(1500)], "memory": {"a": lap}})
        page = None
        for saved_meanwhile in (False, True):
            if saved_meanwhile:
                change(db, session_id, {"set": {"/messages/1400": "changed", "/memory/a": "changed"}})
            with db.connection.transaction():
                before = db.value(READ)
                (page, _, *rows) = [row["export_session_page"] for row in db.call(
                    "export_session_page", p_session_id=session_id, p_page=page, p_latest_only=True)]
                read = db.value(READ) - before
            assert len(rows) > 600
            assert read < 2 * len(rows) + 200, "of 13,500"
        assert page == "null"
        assert '"7 1400"' in rows[-100]


def test_export_page__latest_only_of_what_changes_faster_than_it_is_read(db: Db) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, {"messages": list(range(20_001))})
        page = db.call("export_session_page", p_session_id=session_id, p_latest_only=True)[0]["export_session_page"]
        for wanted, code in ((20_000, None), (20_001, "snapshot_gone")):
            db.save(session_id, {"messages": [f"new {n}" for n in range(wanted)] + list(range(wanted, 20_001))})
            if code is None:
                rows = db.call("export_session_page", p_session_id=session_id, p_page=page, p_latest_only=True)
                assert json.loads(rows[2]["export_session_page"])[5] == 899
            else:
                with db.refuses(code):
                    db.call("export_session_page", p_session_id=session_id, p_page=page, p_latest_only=True)
        assert db.call("export_session_page", p_session_id=session_id, p_page=page)


def test_export_page__clean_up_in_between_is_noticed(db: Db, session_id) -> None:
    rows = [row["export_session_page"] for row in db.call("export_session_page", p_session_id=session_id)]
    kept = len(json.loads(rows[1] + "]}")["snapshots"])
    for snapshots, code in ((kept, None), (kept + 1, "snapshot_gone")):
        page = json.dumps([7, snapshots, 0, -2, "", 7])
        if code is None:
            assert db.call("export_session_page", p_session_id=session_id, p_page=page)
        else:
            with db.refuses(code):
                db.call("export_session_page", p_session_id=session_id, p_page=page)


@pytest.mark.parametrize("page", ["[]", "{}", "7", "[1,2]", '["x",1,1,1,""]', "[99999999999,1,1,1,null]", '[1,1,1,1,null]'])
def test_export_page__place_that_is_none(db: Db, session_id, page: str) -> None:
    with db.refuses("invalid_argument"):
        db.call("export_session_page", p_session_id=session_id, p_page=page)


def test_import__numbers_have_an_end(db: Db) -> None:
    """A session that would overflow is refused; one at the end goes through the clean-up like any other."""
    with db.acting_as("ada"):
        for latest, code in ((2147483647, "invalid_argument"), (1_000_000_001, "invalid_argument"), (10**9, None)):
            document = copy.deepcopy(FAIR)
            document["session"] = {"latest_number": latest}
            document["snapshots"] = [{"number": latest}]
            document["parts"] = [["/n/", -1, latest, None, None, 1]]
            if code:
                with db.refuses(code):
                    import_text(db, json.dumps(document))
            else:
                import_text(db, json.dumps(document))
    with db.acting_as("service"):
        while not db.one("cleanup_old_snapshots", p_keep=1, p_older_than="0")["done"]:
            pass
    assert db.value("select count(*) from asyouwere.cleanup_failures") == 0
    assert db.value("select count(*) from session_snapshots") == 1

