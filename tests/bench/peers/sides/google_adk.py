"""Google ADK's DatabaseSessionService over asyncpg with a pool: two events a turn, as its Runner appends them.

The session object stays in memory between the turns; its Runner reads the session anew at each turn, which is
not counted here. Restoring gives its Event objects: there is no other way.
"""

from __future__ import annotations

from typing import Any

from google.adk.events import Event, EventActions
from google.adk.sessions import DatabaseSessionService, Session
from google.adk.sessions.base_session_service import GetSessionConfig
from google.genai import types
from sqlalchemy.ext.asyncio import create_async_engine

from tests.bench.peers.sides.base import CLIENTS, Message, Side, Turn

APP, USER = "bench", "ada"


class GoogleAdk(Side):
    packages = ("google-adk", "SQLAlchemy", "asyncpg")

    async def open(self, dsn: str, **options: Any) -> None:
        self._engine = create_async_engine(options["url"], pool_size=CLIENTS, max_overflow=0)
        self._service = DatabaseSessionService(db_engine=self._engine)
        self._sessions: dict[str, Session] = {}

    async def fill(self, session: str, turns: list[Turn]) -> None:
        made = await self._service.create_session(app_name=APP, user_id=USER, session_id=session)
        # All but the last turn go in as rows: append_event() would take a minute for 10,000.
        stored = self._service._get_schema_classes().StorageEvent
        async with self._service.database_session_factory() as database:
            for turn in turns[:-1]:
                database.add_all(stored.from_event(made, event) for event in _events(turn))
            await database.commit()
        again = await self._service.get_session(app_name=APP, user_id=USER, session_id=session)
        assert again is not None
        self._sessions[session] = again
        await self.save(session, turns[-1])

    async def save(self, session: str, turn: Turn) -> None:
        for event in _events(turn):
            await self._service.append_event(self._sessions[session], event)

    async def restore(self, session: str) -> object:
        return await self._service.get_session(app_name=APP, user_id=USER, session_id=session)

    async def poll(self, session: str) -> bool:
        head = await self._service.get_session(
            app_name=APP, user_id=USER, session_id=session, config=GetSessionConfig(num_recent_events=0)
        )
        return head is not None and head.last_update_time == self._sessions[session].last_update_time

    def contents(self, restored: Any) -> list[str]:
        return [event.content.parts[0].text for event in restored.events]

    async def close(self) -> None:
        await self._engine.dispose()


def _events(turn: Turn) -> tuple[Event, Event]:
    answered = EventActions(state_delta={"step": turn.step})
    return _event("user", turn.user), _event("assistant", turn.assistant, answered)


def _event(author: str, message: Message, actions: EventActions | None = None) -> Event:
    role = "user" if author == "user" else "model"
    content = types.Content(role=role, parts=[types.Part(text=message["content"])])
    return Event(author=author, invocation_id="turn", content=content, actions=actions or EventActions())
