"""Messages of a session that are handed on to a system outside: each once, in the session's order.

    outbox = Outbox(session)
    while (delivery := outbox.next()) is not None:
        count = await agent.count()                                # how much it has before
        if delivery.note is None or count == delivery.note:        # else it has arrived: see Delivery.note
            await delivery.begin(count)
            await agent.say(delivery.message["content"])
        await delivery.done()

The session is the outbox: pages and other devices append messages, each with an ``id``, and one task hands them on.
How far each has come is in the state, in ``deliveries`` by default: by the message's id first ``{"status": "sending",
"note": …}``, then ``{"status": "sent"}``. For one task of one process at a time: two would hand a message on twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asyouwere.client.tracked import plain

if TYPE_CHECKING:
    from asyouwere.client.session import Session

__all__ = ["Delivery", "Outbox"]


class Outbox:
    """What is to be handed on.

    messages: pointer of the list; items that are no objects, have another role or no text as their ``id`` are passed
    over. deliveries: pointer of an object, made with the first delivery. For sessions opened with ``async with``.
    """

    def __init__(
        self, session: Session, *, role: str = "user", messages: str = "/messages", deliveries: str = "/deliveries"
    ) -> None:
        self._session = session
        self._role = role
        self._messages = messages
        self._deliveries = deliveries

    def next(self) -> Delivery | None:
        """The first message that is not handed on, as far as is known here (``await session.refresh()`` first to know
        all). None: there is none."""
        messages = self._session.get(self._messages)
        for message in messages if isinstance(messages, list) else []:
            match message:
                case {"role": self._role, "id": str(id)}:
                    pointer = f"{self._deliveries}/{id.replace('~', '~0').replace('/', '~1')}"
                    found = self._session.get(pointer)
                    known = plain(found) if isinstance(found, dict) else {}
                    if known.get("status") != "sent":
                        return Delivery(self._session, pointer, id, plain(message), known.get("note"))
        return None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message on its way.

    id, message: of the session. note: what was noted by whoever began to hand it on, and did not come to the end:
    look by it whether the message has arrived before you begin again. None: nobody has begun.
    """

    _session: Session
    _pointer: str
    id: str
    message: dict[str, Any]
    note: Any = None

    async def begin(self, note: Any) -> None:
        """Just before it is handed on: note by what to tell later whether it has arrived. note: any JSON value but
        None. Saved when this returns. Raises why it is not saved (AsYouWereError): then do not hand it on."""
        if note is None:
            raise TypeError("a note is a JSON value, and not None")
        await self._set({"status": "sending", "note": note})

    async def done(self) -> None:
        """It has arrived. Raises why that is not saved (AsYouWereError); here it is known all the same."""
        await self._set({"status": "sent"})

    async def _set(self, delivery: dict[str, Any]) -> None:
        self._session.set(self._pointer, delivery)
        await self._session.save_now()
