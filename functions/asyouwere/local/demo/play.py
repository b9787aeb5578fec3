"""The acts of the demo, in the order in which they are played. Each reports to the guarantees what it saw."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import perf_counter, sleep
from typing import Any

import httpx
import psycopg

from asyouwere.local.demo import checks, streaming
from asyouwere.local.demo.checks import Guarantees, SaveResult
from asyouwere.local.demo.client import Client, Refused
from asyouwere.local.demo.conversation import Script, State, Step, apply, put
from asyouwere.local.demo.crash import Attempt, Watch, at_work, kill_during, once_written
from asyouwere.local.demo.documents import Documents
from asyouwere.local.demo.measurements import Measurements, SavePoint, StoragePoint
from asyouwere.local.stack import LocalStack

CRASHES = "Both kills hit a save in flight"
RETRIES = "The same save, sent again with its key, is made once"
EXACTLY_ONCE = "Every answered save is there, exactly once"
MESSAGES = "Every message came back as it was sent"
VERSIONS = "Every version restores exactly"
RESTORES = "Latest, an old number and a label restore"
MERGE = "Two devices save at once: merged, nothing lost"
CONFLICT = "A conflict is refused and named; nothing is written"
DIFF = "The difference of two versions is exact"
CLEANUP = "Clean-up removes what it may, and nothing else"
TITLES = (
    CRASHES, RETRIES, EXACTLY_ONCE, MESSAGES, VERSIONS, RESTORES, MERGE, CONFLICT, DIFF, CLEANUP, *streaming.TITLES,
)  # fmt: skip

KEEP = 20  # newest snapshots that clean-up leaves
STORAGE_EVERY = 5  # saves between two looks at the size on disk
TRIES = 25  # saves that one kill may miss before it gives up
KILLS = 4  # and kills that may come just after the answer

STORED = """
select sum(pg_total_relation_size(c.oid))::bigint
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('asyouwere', 'public') and c.relkind in ('r', 'm')
"""

Tell = Callable[[str], None]


class Play:
    """One run: a session, what the app holds of it, and what was answered.

    tell: takes a line for the person, with rich's markup.
    """

    def __init__(self, stack: LocalStack, script: Script, tell: Tell) -> None:
        self.stack = stack
        self.script = script
        self.tell = tell
        self.guarantees = Guarantees(TITLES)
        self.measured = Measurements()
        self.client = Client(stack.url, stack.token())
        self.session_id = self.client.create_session(name="Reading the standard library", model="demo-1")
        self.answers: list[SaveResult] = []
        self.state: State = {}  # the app's own copy
        self.number = 0  # the snapshot that the copy is
        self.differences: list[dict[str, Any]] = []
        self.cleaned: dict[str, Any] = {}
        self._database = self._connect()
        self.documents = Documents(self._database)

    def close(self) -> None:
        self.client.close()
        self._database.close()

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.stack.dsn, autocommit=True)

    # -- act 1: the conversation, with two crashes -----------------------------------------------------

    def converse(self, progress: Callable[[int], None]) -> None:
        """Save every turn; kill everything twice on the way. ``progress`` is told the count of saves."""
        steps = self.script.steps
        # The first kill comes in the middle of a transaction, best of a whole state, which is a longer one;
        # the second comes between the commit and the answer.
        third = len(steps) // 3
        long = next((index for index in range(third, 2 * third) if steps[index].whole), third)
        due: list[tuple[int, Callable[[], Watch]]] = [
            (long, lambda: at_work(self.stack.dsn)),
            (2 * third, lambda: once_written(self.stack.dsn, self.session_id, self.number + 1)),
        ]
        tries = kills = 0
        hits: list[int] = []  # message counts
        for index, step in enumerate(steps):
            apply(self.state, step)
            fields = self._fields(step, index)
            if due and index >= due[0][0]:
                killed, in_flight = self._crash(fields, due[0][1]())
                tries, kills = tries + 1, kills + killed
                if in_flight:
                    hits.append(len(self.state["messages"]))
                if in_flight or tries == TRIES or kills == KILLS:
                    tries = kills = 0
                    due.pop(0)
            else:
                self._save(fields)
                took_ms, sent = self.client.took_ms, self.client.sent_bytes
                self._save_document(SavePoint(len(self.state["messages"]), took_ms, 0.0, sent, step.whole))
            if index % STORAGE_EVERY == 0 or index == len(steps) - 1:
                self._look_at_storage()
            progress(index + 1)
        problems = [] if len(hits) == 2 else [f"{len(hits)} of 2 kills hit a save in flight"]
        where = " and ".join(str(count) for count in hits)
        self.guarantees.report(CRASHES, problems, f"at message {where}, every process by SIGKILL")

    def _fields(self, step: Step, index: int) -> dict[str, Any]:
        content = {"state": self.state} if step.whole else {"changes": step.changes}
        label = {"label": step.label} if step.label else {}
        return {**content, **label, "base": self.number, "idempotency_key": f"turn-{index:04d}"}

    def _save(self, fields: dict[str, Any]) -> dict[str, Any]:
        return self._answered(fields, self.client.save(self.session_id, **fields))

    def _answered(self, fields: dict[str, Any], saved: dict[str, Any]) -> dict[str, Any]:
        self.answers.append(SaveResult(fields["idempotency_key"], saved["number"], saved["replayed"]))
        self.number = saved["number"]
        return saved

    def _save_document(self, point: SavePoint) -> None:
        took_ms = self.documents.save(self.session_id, self.number, self.state)
        self.measured.saves.append(
            SavePoint(point.messages, point.asyouwere_ms, took_ms, point.sent_bytes, point.whole)
        )
        self.measured.versions_json_bytes += self.documents.json_bytes

    def _look_at_storage(self) -> None:
        stored = self._database.execute(STORED).fetchone()
        assert stored is not None
        self.measured.storage.append(
            StoragePoint(
                len(self.state["messages"]),
                int(stored[0]),
                self.documents.size_bytes(),
                self.documents.json_bytes,
            )
        )

    # -- a crash in the middle of a save, and the way back ---------------------------------------------

    def _crash(self, fields: dict[str, Any], watch: Watch) -> tuple[bool, bool]:
        """Kill everything during this save, start and send it again: whether killed, whether in flight."""
        before = self.number
        with watch as moment:
            attempt = kill_during(self.stack, lambda: self.client.save(self.session_id, **fields), moment)
        if attempt.answer is not None:
            self._answered(fields, attempt.answer)
        if attempt.killed:
            count = len(self.state["messages"])
            self.measured.crashes.append(count)
            self._database.close()
            begin = perf_counter()
            self.stack.start()
            self._database = self.documents.connection = self._connect()
            self.tell(
                f"[bold red]kill -9[/] at message {count}, {attempt.after_ms:.1f} ms into a save: the "
                f"functions server and {attempt.processes - 1} Postgres processes. Started again in "
                f"{perf_counter() - begin:.1f} s. {self._send_again(fields, before, attempt)}"
            )
        self._save_document_after_crash()
        return attempt.killed, attempt.in_flight

    def _send_again(self, fields: dict[str, Any], before: int, attempt: Attempt) -> str:
        """What an app does after a crash: the same save with the same key. Says what had become of it."""
        written = self._latest_number() > before
        saved = self._save_until_answered(fields)
        wrong = []
        if attempt.answer is not None and not written:
            wrong.append("a save was answered and is not there")
        if saved["number"] != before + 1:
            wrong.append(f"the save after {before} became {saved['number']}")
        if saved["replayed"] != written:
            wrong.append(f"replayed is {saved['replayed']}, but written was {written}")
        again = self.client.save(self.session_id, **fields)
        if (again["number"], again["replayed"]) != (saved["number"], True):
            wrong.append(f"sent once more it became {again['number']} instead of {saved['number']}")
        self.guarantees.report(RETRIES, wrong, "after each kill, and once more: the same number")
        if attempt.answer is not None:
            fate = "Its answer had just come through; sent again, it was told the same number"
        elif written:
            fate = "The save was written, only its answer was lost: sent again, it was told its number"
        else:
            fate = "The save was not written yet: sent again, it became number"
        return f"{fate}, {saved['number']}." if written else f"{fate} {saved['number']}."

    def _save_document_after_crash(self) -> None:
        """Keep the documents complete; the time of this turn says nothing and is not kept."""
        self.documents.save(self.session_id, self.number, self.state)
        self.measured.versions_json_bytes += self.documents.json_bytes

    def _latest_number(self) -> int:
        """What the database itself holds, before the app has said anything after the crash."""
        statement = "select latest_number from public.free_agent_sessions where id = %s"
        row = self._database.execute(statement, (self.session_id,)).fetchone()
        assert row is not None
        return int(row[0])

    def _save_until_answered(self, fields: dict[str, Any]) -> dict[str, Any]:
        """What an app does after a broken connection: the same again, a few times."""
        for wait_seconds in (0.05, 0.2, 1.0, 3.0):
            try:
                return self._save(fields)
            except httpx.TransportError:
                sleep(wait_seconds)
        return self._save(fields)

    # -- act 2: is everything there? -------------------------------------------------------------------

    def look_back(self, progress: Callable[[int], None]) -> None:
        """Restore every version and compare it with what the app held then."""
        listed = self.client.snapshots(self.session_id)
        numbers = [snapshot["number"] for snapshot in listed]
        problems = checks.saved_exactly_once(self.answers, numbers)
        if len(numbers) != len(self.script.steps):
            problems.append(f"{len(numbers)} snapshots of {len(self.script.steps)} saves")
        self.guarantees.report(EXACTLY_ONCE, problems, f"numbers 1 to {max(numbers)}: no gap, none twice")

        expected: State = {}
        for index, step in enumerate(self.script.steps):
            apply(expected, step)
            restored = self.client.restore(self.session_id, number=index + 1)
            self.measured.restores_ms.append(self.client.took_ms)
            self.guarantees.report(
                VERSIONS,
                checks.same_state(expected, restored["state"], f"number {index + 1}"),
                f"{index + 1} of {len(self.script.steps)} restored and compared",
            )
            progress(index + 1)

        latest = self.client.restore(self.session_id)
        self.guarantees.report(
            MESSAGES,
            checks.same_messages(self.script.messages, latest["state"]["messages"]),
            f"{len(latest['state']['messages'])} messages, NUL and lone surrogates too",
        )
        self._restore_three(latest)

    def _restore_three(self, latest: dict[str, Any]) -> None:
        label, index = next(iter(self.script.labels.items()))
        old = len(self.script.steps) // 2
        named = self.client.restore(self.session_id, label=label)
        numbered = self.client.restore(self.session_id, number=old)
        problems = [
            *checks.same_state(self.state, latest["state"], "latest"),
            *checks.same_state(self._state_at(old), numbered["state"], f"number {old}"),
            *checks.same_state(self._state_at(index + 1), named["state"], f"label {label}"),
        ]
        if (named["number"], named["label"], latest["number"]) != (index + 1, label, self.number):
            problems.append("a restored snapshot does not say which it is")
        evidence = f"{latest['number']}, {numbered['number']}, “{label}” (number {named['number']})"
        self.guarantees.report(RESTORES, problems, evidence)

    def _state_at(self, number: int) -> State:
        state: State = {}
        for step in self.script.steps[:number]:
            apply(state, step)
        return state

    # -- act 3: two devices ----------------------------------------------------------------------------

    def work_on_two_devices(self) -> None:
        """Two saves at the same time from the same base, then two that contradict each other."""
        with (
            Client(self.stack.url, self.stack.token()) as laptop,
            Client(self.stack.url, self.stack.token()) as phone,
        ):
            self._merge({"laptop": laptop, "phone": phone})
            self._contradict(laptop, phone)

    def _merge(self, devices: dict[str, Client]) -> None:
        base, together = self.number, Barrier(len(devices))
        changes: dict[str, dict[str, Any]] = {
            name: {
                "append": {
                    "/messages": [{"id": f"msg_{name}", "role": "user", "content": f"From the {name}."}]
                },
                "set": {f"/memory/blackboard/{name}": {"note": f"the {name} was here"}},
            }
            for name in devices
        }

        def save(name: str) -> dict[str, Any]:
            devices[name].restore(self.session_id, since=base)  # opens the connection
            together.wait(10)
            return devices[name].save(
                self.session_id, changes=changes[name], base=base, idempotency_key=f"{name}-{base}"
            )

        with ThreadPoolExecutor(len(devices)) as both:
            saved = dict(zip(devices, both.map(save, devices), strict=True))
        caught_up = copy.deepcopy(self.state)
        first, second = sorted(devices, key=lambda name: int(saved[name]["number"]))
        for name in (first, second):
            self.state["messages"] += changes[name]["append"]["/messages"]
            self.state["memory"]["blackboard"] |= {name: {"note": f"the {name} was here"}}
        others = saved[second].get("others") or {"set": {}}
        for pointer, value in others["set"].items():
            put(caught_up, pointer, value)
        self.number = saved[second]["number"]
        latest = self.client.restore(self.session_id)
        self.guarantees.report(
            MERGE,
            [
                *checks.merged(list(saved.values()), base),
                *checks.same_state(self.state, latest["state"], "after both"),
                *checks.same_state(self.state, caught_up, "caught up by the answer alone"),
            ],
            f"numbers {saved[first]['number']} and {saved[second]['number']}; "
            f"the {second} caught up by its answer",
        )

    def _contradict(self, laptop: Client, phone: Client) -> None:
        base = self.number
        first = laptop.save(
            self.session_id, changes={"set": {"/status": "paused", "/currentStep": 1000}}, base=base
        )
        self.number = first["number"]
        self.state |= {"status": "paused", "currentStep": 1000}
        stale = {"set": {"/currentStep": 2000, "/memory/goal": "must not be saved"}}
        try:
            phone.save(self.session_id, changes=stale, base=base)
            status, code, addresses = 200, "", []
        except Refused as exc:
            status, code, addresses = exc.status, exc.code, exc.problem.get("addresses", [])
        latest = self.client.restore(self.session_id)
        problems = checks.refused(status, code, addresses, ["/currentStep"])
        problems += checks.same_state(self.state, latest["state"], "after the refusal")
        if latest["number"] != first["number"]:
            problems.append(f"the refused save made number {latest['number']}")
        self.guarantees.report(CONFLICT, problems, f"{status} {code}: {', '.join(addresses)}")

    # -- act 4: differences and clean-up ---------------------------------------------------------------

    def compare(self) -> None:
        """The difference of the last versions for a person to look at, and a long one to check."""
        last = self.client.restore(self.session_id, number=self.number)["state"]
        before = self.number - 3
        self.differences = self.client.diff(self.session_id, before, self.number)
        problems = checks.same_diff(self.differences, self._state_at(before), last)
        one, other = (index + 1 for index in self.script.labels.values())
        long = self.client.diff(self.session_id, one, other)
        problems += checks.same_diff(long, self._state_at(one), self._state_at(other))
        back = self.client.diff(self.session_id, other, one)
        problems += checks.same_diff(back, self._state_at(other), self._state_at(one))
        short = f"{before} to {self.number}: {len(self.differences)} parts"
        evidence = f"{short}; {one} to {other}: {len(long)}, and back"
        self.guarantees.report(DIFF, problems, evidence)

    def clean_up(self) -> None:
        """Remove all but the newest, as the scheduler does, and look at what is left."""
        named = {index + 1 for index in self.script.labels.values()}
        wanted = named | set(range(self.number - KEEP + 1, self.number + 1))
        with Client(self.stack.url, self.stack.token(role="service_role")) as scheduler:
            self.cleaned = scheduler.clean_up(keep=KEEP, older_than_seconds=0)
        left = [snapshot["number"] for snapshot in self.client.snapshots(self.session_id)]
        gone, problems = [], []
        for number in range(1, self.number + 1):
            try:
                restored = self.client.restore(self.session_id, number=number)
            except Refused as exc:
                gone.append(number)
                if exc.code != "snapshot_gone":
                    problems.append(f"number {number} is answered with {exc.code}")
            else:
                if number <= len(self.script.steps):
                    problems += checks.same_state(
                        self._state_at(number), restored["state"], f"number {number}"
                    )
        latest = self.client.restore(self.session_id)
        problems += checks.kept(wanted, left, gone)
        problems += checks.same_state(self.state, latest["state"], "latest")
        if self.cleaned["snapshots"] != len(gone):
            problems.append(f"it says {self.cleaned['snapshots']} snapshots, but {len(gone)} are gone")
        evidence = f"{len(gone)} removed; the newest {KEEP} and {len(named)} labelled restore exactly"
        self.guarantees.report(CLEANUP, problems, evidence)

    # -- act 5: an answer while it is made -------------------------------------------------------------

    def stream(self) -> None:
        """Stream the longest answer of the conversation, in a session of its own."""
        answers = [message["content"] for message in self.script.messages if message["role"] == "assistant"]
        act = streaming.Streaming(self.stack, self.client, self.guarantees, self.measured.answer, self.tell)
        act.play(max(filter(None, answers), key=len))
