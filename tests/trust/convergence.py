"""Convergence: several clients on a bad network end with the server's state, and nothing is lost or doubled.

Everything follows from the seed: who does what, which request arrives when, which is lost, doubled or comes once
more much later, who crashes, when the clean-up runs and when the servers are killed. Requests arrive one at a
time, so that each answer can be compared with the model's; how saves fare that run at once is what `crash`,
`lines`, `cleanup` and `clients` show; the latter, with the clients that people install, is the second half of this.

A further kind of client is one more entry in CLIENTS.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.property.checks import Storage, check_list, check_number
from tests.property.drivers import Driver, Refusal
from tests.property.exact import messages_in
from tests.property.model import SaveResult, SessionModel
from tests.property.sequences import check_answer, check_refusal, wanted_answer
from tests.property.sql_driver import SqlDriver
from tests.property.writing import again
from tests.trust import clients
from tests.trust.devices import Device, Request
from tests.trust.place import PERSON, Place, folder_of_a_run
from tests.trust.report import Outcome, Say

CLIENTS: dict[str, Callable[[Place], Driver]] = {
    "SQL": lambda place: SqlDriver(place.db, PERSON),
    "HTTP": lambda place: place.driver(),
}
OPERATIONS_A_SESSION = 250
SHORT_SEEDS, SHORT_OPERATIONS = 3, 250
LONG_SEEDS, LONG_OPERATIONS = 20, 5_000


def run(outcome: Outcome, folder: Path, long: bool, say: Say) -> None:
    """Devices that speak with the server by hand, judged by a model; then the packages' own clients."""
    devices(outcome, folder, long, say)
    short = outcome.short
    with folder_of_a_run() as another:
        clients.run(outcome, another, long, say)
    outcome.short = (*short, "messages lost or doubled")


def devices(outcome: Outcome, folder: Path, long: bool, say: Say) -> None:
    """All seeds, one after the other."""
    seeds, operations = (LONG_SEEDS, LONG_OPERATIONS) if long else (SHORT_SEEDS, SHORT_OPERATIONS)
    outcome.short = (
        "seeds",
        "operations",
        "accepted",
        "refused and told",
        "clients unequal",
        "appends lost or doubled",
    )
    outcome.figures.update(dict.fromkeys(("clients unequal", "appends lost or doubled"), 0))
    with Place(folder) as place:
        outcome.facts.update(place.facts())
        for seed in range(seeds):
            outcome.count("seeds")
            for session in range(-(-operations // OPERATIONS_A_SESSION)):
                count = min(OPERATIONS_A_SESSION, operations - session * OPERATIONS_A_SESSION)
                world = World(outcome, place, f"{seed}.{session}")
                try:
                    world.play(count)
                except Exception as exc:
                    raise AssertionError(f"seed {seed}, session {session}: {exc}") from exc
                finally:
                    world.close()
                say(f"seed {seed + 1} of {seeds}, {outcome.figures['operations']:,} operations")


class World:
    """One session, its clients, the network between, and the model that judges every arrival."""

    def __init__(self, outcome: Outcome, place: Place, seed: str) -> None:
        self.outcome = outcome
        self.place = place
        self.random = random.Random(f"convergence {seed}")
        self.model = SessionModel()
        self.storage = Storage(place.postgres.dsn)
        kinds = [self.random.choice(list(CLIENTS)) for _ in range(self.random.randint(2, 5))]
        drivers = [CLIENTS[kind](place) for kind in kinds]
        self.session = drivers[0].new_session()
        self.devices = [
            Device(f"{kind} {count}", driver, self.session, random.Random(f"{seed} {count}"))
            for count, (kind, driver) in enumerate(zip(kinds, drivers, strict=True))
        ]
        self.under_way: list[tuple[Device, Request]] = []
        self.ghosts: list[tuple[Device, Request]] = []
        self.composed = 0

    def close(self) -> None:
        """Close the connections."""
        for device in self.devices:
            device.driver.close()
        self.storage.close()

    def play(self, operations: int) -> None:
        """So many operations, then quiet, then the comparison."""
        while self.composed < operations:
            self._event()
        self._settle()
        self._compare()

    # -- what happens ------------------------------------------------------------------------------------------

    def _event(self) -> None:
        device = self.random.choice(self.devices)
        what = self.random.choices(
            ["work", "arrive", "sync", "crash", "ghost", "prune", "cut", "kill"],
            [40, 40, 8, 2, 4, 2, 1, 0.15],
        )[0]
        if what == "work" and device.pending is None:
            self.composed += 1
            self.outcome.count("operations")
            self.under_way.append((device, device.compose()))
        elif what == "work" and not any(sent is device.pending for _, sent in self.under_way):
            assert device.pending is not None
            self.outcome.count("asked again")
            self.under_way.append((device, device.pending))
        elif what == "arrive" and self.under_way:
            place = self.random.randrange(len(self.under_way))
            if place:
                self.outcome.count("arrived out of order")
            self._travel(*self.under_way.pop(place))
        elif what == "sync":
            device.sync()
        elif what == "crash":
            self.outcome.count("clients crashed")
            device.crash()
        elif what == "ghost" and self.ghosts:
            self.outcome.count("duplicates, later")
            self._arrive(*self.random.choice(self.ghosts))
        elif what == "prune":
            self.outcome.count("prunes")
            keep = self.random.randint(2, 8)
            again(lambda: device.driver.prune(keep, 100))
            self.model.prune(keep)
        elif what in ("cut", "kill"):
            self._break(what)

    def _travel(self, device: Device, request: Request) -> None:
        """A request may get lost, arrive twice, or its answer get lost; the device then asks again."""
        fate = self.random.choices(["well", "request lost", "twice", "answer lost"], [80, 7, 6, 7])[0]
        if fate != "well":
            self.outcome.count("duplicates, at once" if fate == "twice" else fate)
        if fate == "request lost":
            return
        self._arrive(device, request)
        if fate == "twice" and request.refusal is None:
            self._arrive(device, request)
        if fate != "answer lost":
            device.hear(request)

    def _arrive(self, device: Device, request: Request) -> None:
        """The server does it, and its answer is what the model says."""
        op, model = request.op, self.model
        expected = model.expect(op)
        do = device.driver.save if op["do"] == "save" else device.driver.append_messages
        try:
            row = again(lambda: do(self.session, op))
        except Refusal as refusal:
            check_refusal(op, refusal, expected, model)
            request.refusal = refusal
            return
        wanted: SaveResult = wanted_answer(op, row, expected, model)
        check_answer(op, row, wanted, expected, model)
        model.done(op, expected, wanted)
        request.answer, request.refusal = row, None
        self.ghosts.append((device, request))

    def _break(self, what: str) -> None:
        """Every connection to Postgres is cut; or Postgres is killed, or it and the functions."""
        self.outcome.count("connections cut" if what == "cut" else "kills of Postgres")
        if what == "cut":
            self.storage.rows(
                "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'authenticator'"
            )
            return
        self.storage.close()
        self.place.postgres.kill()
        both = self.random.random() < 0.5
        if both:
            self.outcome.count("kills of the functions")
            self.place.functions.kill()
        self.place.restart_postgres()
        if both:
            self.place.functions.start()
        self.storage = Storage(self.place.postgres.dsn)

    # -- the end -----------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Every request is asked for until it is answered, and everybody catches up."""
        for device in self.devices:
            if device.pending is not None:
                self._arrive(device, device.pending)
                device.hear(device.pending)
        for device in self.devices:
            device.sync()

    def _compare(self) -> None:
        model, outcome = self.model, self.outcome
        messages = messages_in(model.state)
        tokens: list[str] = []
        for device in self.devices:
            told = device.told
            assert device.count == len(told.accepted) + len(told.refused), f"{device.name} was not told of all"
            tokens += [request.token for request in told.accepted if request.token is not None]
            outcome.count("accepted", len(told.accepted))
            outcome.count("refused and told", len(told.refused))
            if (device.number, device.tree) != (model.latest, model.state):
                outcome.count("clients unequal")
                outcome.failures.append(f"{device.name} has {device.tree}, not {model.state}")
        if sorted(messages) != sorted(tokens):
            outcome.count("appends lost or doubled")
            outcome.failures.append(f"messages are {messages}, told were {tokens}")
        # and the server has what the model has, in its tables and as its clients see it
        self.storage.check_tables(self.session, model)
        driver = self.devices[0].driver
        again(lambda: check_list(driver, self.session, model))
        again(lambda: check_number(driver, self.storage, self.session, model, model.latest))
