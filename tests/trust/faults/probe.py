"""One person who saves and reads while something is wrong, and keeps a list of what was answered."""

from __future__ import annotations

import itertools
import secrets
import time

import httpx

from tests.functions.api import Person, token_for
from tests.trust.place import Place
from tests.trust.report import Outcome

RECOVERY_SECONDS = 60.0
NAMES = itertools.count(1)


class Probe:
    """Every answer is also held against the OpenAPI document. size: characters of each message."""

    def __init__(self, outcome: Outcome, place: Place, what: str, *, size: int = 10) -> None:
        self.outcome = outcome
        self.what = what
        self.size = size
        self.person = Person(place.url, place.user, token_for(place.user))
        place.closing(self.person.http)
        self.session = self.person.session()
        self.answered: list[str] = []
        self.save()

    def save(self, session: str | None = None, name: str | None = None) -> httpx.Response:
        """Append a message under a key of its own."""
        # letters that can't be compressed, so that the size on disk is the size
        name = name or f"{next(NAMES)} {secrets.token_hex(self.size // 2)}"
        fields = {"changes": {"append": {"/messages": [name]}}, "idempotency_key": name[:100]}
        answer = self.person.save(session or self.session, **fields)
        if answer.status_code == 200 and session is None:
            self.answered.append(name)
        return answer

    def read(self) -> httpx.Response:
        """Restore the latest."""
        return self.person.restore(self.session)

    def goes_on(self, answer: httpx.Response, what: str) -> None:
        """It must have been answered as if nothing were wrong."""
        self.outcome.count(f"{self.what}: {what} went on", int(answer.status_code == 200))
        self._require(answer.status_code == 200, f"{what} did not go on", answer)

    def is_told(self, answer: httpx.Response, what: str) -> None:
        """It must be a clear "not now"."""
        self.outcome.count(f"{self.what}: {what} told {answer.status_code}")
        clear = answer.status_code in (503, 504) and answer.headers.get("retry-after", "").isdigit()
        self._require(clear, f"{what} was not told clearly", answer)

    def goes_on_or_is_told(self, answer: httpx.Response, what: str) -> None:
        """One of the two."""
        (self.goes_on if answer.status_code == 200 else self.is_told)(answer, what)

    def recovers(self) -> None:
        """Saves and reads work again, without anybody's help, and all that was answered is there once."""
        begin = time.monotonic()
        while self.save().status_code != 200:
            if time.monotonic() - begin > RECOVERY_SECONDS:
                self.outcome.failures.append(f"{self.what}: no recovery within {RECOVERY_SECONDS:.0f} s")
                return
            time.sleep(0.1)
        self.outcome.figures[f"{self.what}: seconds to recover"] = round(time.monotonic() - begin, 1)
        messages = self.read().json()["state"]["messages"]
        lost = [name for name in self.answered if messages.count(name) != 1]
        self.outcome.require(not lost, f"{self.what}: {len(lost)} answered saves lost or doubled")
        self.outcome.require(len(messages) == len(set(messages)), f"{self.what}: a message is there twice")
        self.outcome.count(f"{self.what}: answered saves", len(self.answered))

    def _require(self, holds: bool, failure: str, answer: httpx.Response) -> None:
        self.outcome.require(holds, f"{self.what}: {failure}: {answer.status_code} {answer.text[:300]}")
