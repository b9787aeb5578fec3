"""Privacy: what people write is in their sessions and nowhere else, and gone when they say so.

Words are planted wherever a request takes one, in good requests and in bad ones. Afterwards none may be in the
functions' log, in Postgres' log (with the settings it comes with) or in an answer to somebody else; none may be in
the answer to a bad request. Then one session is deleted, then all of a person's data: no row of any table of ours may
hold the words or the ids, and the receipt counts what was there. Before, exports are compared with what is stored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests.functions.api import BASE, Person, token_for
from tests.support.database import Db
from tests.trust.place import Place
from tests.trust.report import Outcome, Say

WORD = "planted"
# A key, not a value: who is refused is told the address, in the error's detail, which Postgres writes to its log.
ADDRESS = "addressed"
# Every table of ours, whatever there will be: the ones that hold sessions, keys, runs, buckets.
TABLES = """
    select c.oid::regclass::text as name from pg_catalog.pg_class c
    where c.relkind in ('r', 'p', 'm') and c.relnamespace in ('public'::regnamespace, 'asyouwere'::regnamespace)
"""
# Columns of a session that its export has under another name, or that say nothing of the person.
ELSEWHERE = {
    "internal_id": "a number of this database's",
    "expires_after": "expires_after_seconds",
    "activity_bin": "the half minute of last_activity_at",
    "prepaid_saves": "a counter of the limits",
    "stored_bytes": "a counter of the limits",
    "last_message": "the beginning of a message in the parts; an import makes it anew",
}


def run(outcome: Outcome, folder: Path, long: bool, say: Say) -> None:
    """Plant, look, export, delete, look again. The long form plants more of the same."""
    outcome.short = ("planted words", "requests", "places searched", "found", "rows left")
    outcome.figures.update(
        {"planted words": 0, "requests": 0, "places searched": 0, "found": 0, "rows left": 0}
    )
    with Place(folder, environment={"ASYOUWERE_REQUEST_LOG": "on"}) as place:
        outcome.facts.update(place.facts())
        planted = Planted(outcome, place)
        for _ in range(20 if long else 2):
            planted.everywhere()
            say(f"{outcome.figures['planted words']} words")
        planted.straight_to_postgres()
        _search_logs(outcome, place, planted)
        _exports(outcome, place.db, planted)
        _deletion(outcome, place.db, planted)


class Planted:
    """Ada, who writes words of her own, each once, and remembers them."""

    def __init__(self, outcome: Outcome, place: Place) -> None:
        self.outcome = outcome
        self.place = place
        self.words: list[str] = []
        self.sessions: list[str] = []
        self.ada, self.bob = (
            Person(place.url, str(place.db.user(name)), token_for(str(place.db.user(name))))
            for name in ("ada", "bob")
        )

    def word(self) -> str:
        """A new one."""
        self.words.append(f"{WORD}{len(self.words):06d}z")
        self.outcome.count("planted words")
        return self.words[-1]

    def everywhere(self) -> None:
        """Good requests with words in every field, then bad ones."""
        word, ada = self.word, self.ada
        session = self._good(ada.http.post(f"{BASE}/sessions", json={
            "name": word(), "key": word(), "model": word(), "metadata": {word(): word()},
            "upstream": {"provider": word()}, "visibility": "shared",
        })).json()["id"]  # fmt: skip
        self.sessions.append(session)
        self._good(ada.http.put(f"{BASE}/sessions/{session}/members/{self.bob.id}", json={"role": "editor"}))
        self._good(self.bob.http.post(f"{BASE}/sessions/{session}/invitation"))
        for number in range(3):
            state = {"messages": [{"role": "user", "content": word()}], word(): word(), "n": number}
            body = {"session_id": session, "state": state, "label": word(), "idempotency_key": word()}
            self._good(ada.http.post(f"{BASE}/session-snapshot-save", json=body))
        self._good(ada.http.post(f"{BASE}/sessions/{session}/messages", json={"messages": [word()]}))
        self._good(ada.http.get(f"{BASE}/sessions", params={"search": word()}))
        self._bad_ones(session)

    def _bad_ones(self, session: str) -> None:
        """Requests that are refused, with words that the refusal may not repeat."""
        word = self.word
        save = f"{BASE}/session-snapshot-save"
        text = {"Content-Type": "application/json"}
        tries: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", save, {"content": f'{{"state": {word()}}}', "headers": text}),
            ("POST", save, {"content": f'{{"{word()}": 1, "session_id": "{session}"', "headers": text}),
            ("POST", save, {"json": {"session_id": word(), "state": {}}}),
            ("POST", save, {"json": {"session_id": session, "state": word()}}),
            ("POST", save, {"json": {"session_id": session, "changes": {word(): 1}}}),
            ("POST", save, {"json": {"session_id": session, "changes": {"append": {"/n": [word()]}}}}),
            ("POST", save, {"json": {"session_id": session, "state": {}, "base": word()}}),
            ("POST", save, {"json": {"session_id": session, "state": {}, "label": word() * 100}}),
            ("POST", save, {"json": {"session_id": session, "state": {"x": [word()]}, "base": 99}}),
            (
                "POST",
                save,
                {"content": f'{{"session_id":"{session}","state":{{"{word()}":1e999}}}}', "headers": text},
            ),
            ("POST", f"{BASE}/sessions/import", {"json": {"format": word()}}),
            ("POST", f"{BASE}/sessions", {"json": {"name": word() + "\0"}}),
            ("POST", f"{BASE}/sessions", {"json": {"kind": word()}}),
            ("GET", f"{BASE}/sessions", {"params": {"cursor": word()}}),
            ("GET", f"{BASE}/sessions/{word()}", {}),
            ("GET", f"{BASE}/{word()}", {}),
            ("GET", f"{BASE}/sessions/{session}/messages", {"params": {"after": word()}}),
            ("GET", f"{BASE}/sessions", {"headers": {"Authorization": f"Bearer {word()}.{word()}.{word()}"}}),
            ("POST", save, {"content": word(), "headers": {"Content-Type": f"text/{word()}"}}),
        ]
        for method, path, options in tries:
            before = len(self.words)
            answer = self.ada.http.request(method, path, **options)
            self.outcome.count("requests")
            self.outcome.require(400 <= answer.status_code < 500, f"{method} {path}: {answer.status_code}")
            shown = answer.text + str(answer.headers)
            named = WORD in shown and "unknown" not in shown and self._field_of_the_caller(answer)
            self.outcome.require(WORD not in shown or named, f"{method} {path} repeats the word: {shown}")
            assert before == len(self.words)

    def _field_of_the_caller(self, answer: httpx.Response) -> bool:
        """A name of a field is repeated to who sent it, so that the mistake is found; a value never."""
        errors = answer.json().get("errors", [])
        return bool(errors) and all(WORD not in error["problem"] for error in errors)

    def straight_to_postgres(self) -> None:
        """By SQL, as Supabase clients come: good calls and refused ones."""
        db, session = self.place.db, self.sessions[0]
        with db.acting_as("ada"):
            for arguments in (
                {"p_state": {self.word(): self.word()}, "p_idempotency_key": self.word()},
                {"p_changes": {"append": {"/n": [self.word()]}}},
                {"p_changes": {"set": {f"/messages/0/{ADDRESS}": 1}}},
                {"p_changes": {self.word(): {}}},
                {"p_state": f'"{self.word()}"'},
                {"p_state": {"a": self.word()}, "p_label": self.word() * 100},
            ):
                self.outcome.count("requests")
                try:
                    db.call("create_session_snapshot", p_session_id=session, **arguments)
                except psycopg.Error as exc:
                    seen = f"{exc.diag.message_primary} {exc.diag.message_hint} {exc.diag.context}"
                    self.outcome.require(WORD not in seen, f"an error of SQL repeats the word: {seen}")

    def _good(self, answer: httpx.Response) -> httpx.Response:
        self.outcome.count("requests")
        self.outcome.require(answer.is_success, f"{answer.request.url}: {answer.status_code} {answer.text}")
        return answer


def _search_logs(outcome: Outcome, place: Place, planted: Planted) -> None:
    """Everything that was written into the run's folder, but for the database itself."""
    logs = [path for path in place.folder.rglob("*") if path.is_file() and _is_log(path)]
    outcome.facts["logs"] = ", ".join(sorted({path.name for path in logs}))
    outcome.require(any(path.name == "functions.log" for path in logs), "the functions wrote no log")
    outcome.require(any("postgres" in str(path) for path in logs), "Postgres wrote no log")
    secrets = [WORD, str(planted.ada.token), str(planted.bob.token), str(planted.ada.token).split(".")[1]]
    for path in logs:
        text = path.read_text(errors="replace")
        outcome.count("places searched")
        outcome.count("addresses of refused saves in Postgres' log", text.count(ADDRESS))
        for secret in secrets:
            if secret in text:
                outcome.count("found")
                at = text.index(secret)
                outcome.failures.append(f"{path.name}: …{text[max(0, at - 300) : at + 60]}…")


def _is_log(path: Path) -> bool:
    return path.suffix in (".log", ".csv") or "log" in path.name.lower()


def _exports(outcome: Outcome, db: Db, planted: Planted) -> None:
    """Each export holds each kept version as a restore gives it, and every column there is."""
    columns = {row["name"] for row in db.superuser.execute(
        "select attname as name from pg_catalog.pg_attribute"
        " where attrelid = 'public.free_agent_sessions'::regclass and attnum > 0 and not attisdropped"
    )}  # fmt: skip
    for session in planted.sessions:
        export = json.loads(planted.ada.http.get(f"{BASE}/sessions/{session}/export").text)
        missing = columns - export["session"].keys() - ELSEWHERE.keys()
        outcome.require(not missing, f"the export lacks {missing}")
        outcome.require(export["session"]["members"] != [], "the export lacks the members")
        listed = {entry["number"]: entry for entry in planted.ada.get(f"/{session}/snapshots")["snapshots"]}
        outcome.require(
            listed.keys() == {entry["number"] for entry in export["snapshots"]}, "snapshots are missing"
        )
        for entry in export["snapshots"]:
            number = entry["number"]
            outcome.require(entry["label"] == listed[number]["label"], f"label of {number}")
            whole = planted.ada.state(session, number=number)
            outcome.require(
                _state_of(export["parts"], number) == whole, f"the export's number {number} is another"
            )
            outcome.count("exported versions")


def _state_of(parts: list[list[Any]], number: int) -> Any:
    """The state of a number, put together here from an export's parts."""
    from asyouwere.state.tree import join

    alive = [
        (path, item, json.dumps(body, ensure_ascii=False, separators=(",", ":")))
        for path, item, since, until, _, body in parts
        if since <= number and (until is None or until > number)
    ]
    return json.loads(join(alive))


def _deletion(outcome: Outcome, db: Db, planted: Planted) -> None:
    """One session by itself, then the rest."""
    first, rest = planted.sessions[0], planted.sessions[1:]
    words = _words_in(planted, first)
    outcome.require(len(words) > 5, "the words are not there in the first place")
    planted.ada.http.delete(f"{BASE}/sessions/{first}")
    _nothing_left(outcome, db, words, [first])

    counts = db.sql(
        "select count(distinct s.id) as sessions, count(distinct (n.session_id, n.number)) as snapshots,"
        " (select count(*) from asyouwere.parts p where p.session in (select internal_id from public.free_agent_sessions"
        " where user_id = %(ada)s)) as parts from public.free_agent_sessions s"
        " left join public.session_snapshots n on n.session_id = s.id where s.user_id = %(ada)s",
        {"ada": planted.ada.id},
    )[0]
    receipt = planted.ada.http.delete(f"{BASE}/sessions/me", params={"confirm": "delete-my-data"}).json()
    outcome.facts["receipt"] = json.dumps(receipt)
    for name, count in counts.items():
        outcome.require(
            receipt.get(name) == count, f"the receipt says {receipt.get(name)} {name}, there were {count}"
        )
    _nothing_left(outcome, db, [str(planted.ada.id), WORD], rest)


def _words_in(planted: Planted, session: str) -> list[str]:
    text = planted.ada.http.get(f"{BASE}/sessions/{session}/export").text
    return [word for word in planted.words if word in text]


def _nothing_left(outcome: Outcome, db: Db, texts: list[str], sessions: list[str]) -> None:
    """Searches every row of every table of ours, written as text."""
    for (table,) in [tuple(row.values()) for row in db.sql(TABLES)]:
        outcome.count("places searched")
        if table == "asyouwere.rate_buckets":
            continue  # how much was written in the last minute, whatever is deleted in between
        # an id stays used, by nobody
        wanted = texts if table == "asyouwere.used_ids" else [*texts, *sessions]
        for row in db.sql(f"select t::text as text from {table} t"):
            left = [text for text in wanted if text in row["text"]]
            if left:
                outcome.count("rows left")
                outcome.failures.append(f"{table} still has {left[:3]}")
