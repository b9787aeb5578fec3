"""A proxy in front of an API that makes sessions of its own: one conversation for each user and character.

    POST /api/sessions  {"config_id"}                        -> {"session_id"}
    POST /api/chat      {"session_id", "config_id", "input"} -> {"session_id", "reply"}

Both take the user's access token. A chat may have an Idempotency-Key: asked again under it, it is the same message,
and answered once. What goes wrong is {"status", "code", "detail"}, where detail is a sentence for the page to show.
"""

from __future__ import annotations

import functools
import json
import os
import re
import uuid
from typing import Any, Final

import functions_framework.aio
import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import asyouwere
from asyouwere.errors import AsYouWereError

#: Everything that can go wrong on the other side, as status and sentence.
PROBLEMS: Final = {
    "signed_out": (401, "Please sign in again."),
    "invalid_request": (422, "That cannot be sent: it is empty, or too long."),
    "upstream_unreachable": (502, "The characters cannot be reached. Your message is kept."),
    "upstream_refused": (502, "The characters do not let us in. That is for us to repair; your message is kept."),
    "upstream_failed": (502, "Something broke at the characters' place. Your message is kept."),
    "upstream_lost": (502, "The characters forget at once what we agree on. Your message is kept."),
    "upstream_timeout": (504, "The answer takes too long. Your message is kept."),
    "upstream_busy": (429, "The characters have too much to do. Your message is kept."),
}
CONTEXT: Final = 10  # messages that a new upstream session is told
WAIT_SECONDS: Final = 60  # for another message of the same conversation to be answered
LONGEST: Final = 8_000  # characters of one message


class Problem(Exception):
    """One of PROBLEMS."""

    def __init__(self, code: str, retry_after: str | None = None) -> None:
        self.code = code
        self.retry_after = retry_after


class SessionLost(Exception):
    """The upstream does not know this session (any more)."""


class Upstream:
    """The API that makes the ids. http: with its address, our key and a timeout."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def create(self, config: str, history: list[Any]) -> str:
        """A new session's id. history: what was said before, so that the character knows."""
        return str((await self._post("/sessions", {"config_id": config, "history": history}))["session_id"])

    async def say(self, session: str, text: str) -> tuple[str, str]:
        """The reply, and the session's id from now on: it may be another one. Raises SessionLost."""
        answer = await self._post(f"/sessions/{session}/messages", {"input": text})
        return str(answer["reply"]), str(answer.get("session_id") or session)

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        try:
            answer = await self.http.post(path, json=body)
        except httpx.TimeoutException as exc:
            raise Problem("upstream_timeout") from exc
        except httpx.TransportError as exc:
            raise Problem("upstream_unreachable") from exc
        if answer.status_code in (404, 410):
            raise SessionLost
        if answer.status_code == 429:
            raise Problem("upstream_busy", answer.headers.get("retry-after"))
        if answer.status_code in (401, 403):
            raise Problem("upstream_refused")
        if not answer.is_success:
            raise Problem("upstream_failed")
        return answer.json()


class Characters:
    """The proxy. functions_url: of asyouwere, which keeps every conversation and whose upstream session it is."""

    def __init__(self, functions_url: str, upstream: Upstream) -> None:
        self.functions_url = functions_url
        self.upstream = upstream

    async def respond(self, request: Request) -> Response:
        """One request, whatever comes of it."""
        try:
            if request.method != "POST":
                return JSONResponse({"code": "not_found"}, 404)
            asked = await _body(request)
            if request.url.path.endswith("/api/sessions"):
                return JSONResponse(await self.session(_token(request), _config(asked)))
            if request.url.path.endswith("/api/chat"):
                key = request.headers.get("idempotency-key") or str(uuid.uuid4())
                return JSONResponse(await self.chat(_token(request), _config(asked), _text(asked), key))
            return JSONResponse({"code": "not_found"}, 404)
        except Problem as problem:
            status, detail = PROBLEMS[problem.code]
            return _refusal(status, problem.code, detail, problem.retry_after)
        except AsYouWereError as exc:  # our own store: a token that ran out, a limit, or it is away (status 0)
            if exc.code in ("invalid_token", "token_expired", "missing_token"):
                return _refusal(401, "signed_out", PROBLEMS["signed_out"][1])
            return _refusal(exc.status or 503, exc.code, str(exc), exc.retry_after)

    async def session(self, token: str, config: str) -> dict[str, str]:
        """The character's upstream session, made if there is none: once, however many ask at once."""
        async with self._open(token, config) as session, session.turn(wait=WAIT_SECONDS):
            return {"session_id": await self._upstream_session(session, config)}

    async def chat(self, token: str, config: str, text: str, key: str) -> dict[str, str]:
        """A message and its reply. The message is in our store before the upstream hears of it.

        A turn is one at a time, over all instances of this function. That keeps two tabs' messages in order, and
        lets every page see that an answer is being made.
        """
        async with self._open(token, config) as session, session.turn(wait=WAIT_SECONDS) as turn:
            messages = session.state.get("messages", [])
            reply = next((one["content"] for one in messages if one.get("answers") == key), None)
            if reply is None:  # else the answer was lost on its way to the page
                if not any(one.get("id") == key for one in messages):
                    session.append({"role": "user", "id": key, "content": text})
                await session.save_now()
                reply = await self._reply(session, config, text)
                turn.result = {"role": "assistant", "content": reply, "answers": key}
            return {"session_id": str(session.get("/upstream/session_id", "")), "reply": reply}

    async def _reply(self, session: asyouwere.Session, config: str, text: str) -> str:
        for _ in range(2):
            known = await self._upstream_session(session, config)
            try:
                reply, now = await self.upstream.say(known, text)
            except SessionLost:
                session.set("/upstream", {})  # replaced, once
                continue
            if now != known:
                session.set("/upstream/session_id", now)
            return reply
        raise Problem("upstream_lost")

    async def _upstream_session(self, session: asyouwere.Session, config: str) -> str:
        known = session.get("/upstream/session_id")
        if not known:
            said = [one for one in session.context(last=CONTEXT) if _is_answered(one, session.state["messages"])]
            known = await self.upstream.create(config, said)
            session.set("/upstream/session_id", known)
            await session.save_now()
        return str(known)

    def _open(self, token: str, config: str) -> asyouwere.Opening:
        # By key: the same session for everybody who asks as this user. A function has no disk for a journal.
        return asyouwere.open(
            self.functions_url,
            token=token,
            key=f"character:{config}",
            name=config,
            kind="chat",
            journal=False,
            poll=None,
        )


def _is_answered(message: Any, messages: Any) -> bool:
    """Whether a message is over and done with: what is being asked now is no history."""
    return message.get("role") == "assistant" or any(one.get("answers") == message.get("id") for one in messages)


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem("signed_out")
    return token


async def _body(request: Request) -> dict[str, Any]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > 8 * LONGEST:
            raise Problem("invalid_request")
    try:
        asked = json.loads(body)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise Problem("invalid_request")
    return asked


def _config(asked: dict[str, Any]) -> str:
    config = asked.get("config_id")
    if not isinstance(config, str) or not re.fullmatch(r"[\w-]{1,64}", config):
        raise Problem("invalid_request")
    return config


def _text(asked: dict[str, Any]) -> str:
    text = asked.get("input")
    if not isinstance(text, str) or not 0 < len(text.strip()) <= LONGEST:
        raise Problem("invalid_request")
    return text


def _refusal(status: int, code: str, detail: str, retry_after: object = None) -> Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    problem = {"status": status, "code": code, "detail": detail}
    return JSONResponse(problem, status, headers, media_type="application/problem+json")


@functools.cache
def _deployed() -> Characters:
    http = httpx.AsyncClient(
        base_url=os.environ["UPSTREAM_URL"], headers={"X-Api-Key": os.environ["UPSTREAM_KEY"]}, timeout=30
    )
    return Characters(os.environ["FUNCTIONS_URL"], Upstream(http))


@functions_framework.aio.http
async def characters_api(request: Request) -> Response:
    """What is deployed; made with the first request, for no lifespan runs."""
    return await _deployed().respond(request)
