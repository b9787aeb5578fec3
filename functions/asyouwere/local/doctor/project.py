"""Checks of a hosted Supabase project as such: whether it answers, whether all settings are of one, its two keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

import httpx
import psycopg
from psycopg.conninfo import conninfo_to_dict

from asyouwere.local.doctor.finding import Finding
from asyouwere.service.project_keys import role_of_key

__all__ = ["check_one_project", "check_project_keys", "project_state"]

#: What a project, or what stands before it, says of itself instead of answering, and what to do.
#: https://supabase.com/docs/guides/platform/http-status-codes
_STATES: Final = {
    402: ("the project is restricted", "the dashboard says why: a quota that is used up, or a bill"),
    540: ("the project is paused", "restore it in the dashboard"),
    544: ("the project does not answer in time", "look at its database: is it busy, or out of memory or disk?"),
    **dict.fromkeys(
        (502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 530),
        ("the project does not answer", "is it starting? see its health in the dashboard, and ask again"),
    ),
}
_URL: Final = re.compile(r"([a-z0-9]{20})\.supabase\.co")
_DIRECT: Final = re.compile(r"db\.([a-z0-9]{20})\.supabase\.co")
_POOLER: Final = re.compile(r".+\.pooler\.supabase\.com")


def project_state(check: str, response: httpx.Response) -> Finding | None:
    """The finding for a project that answers nobody now; None for any other answer."""
    if response.status_code not in _STATES:
        return None
    message, advice = _STATES[response.status_code]
    return Finding(check, "fail", f"{message} (status {response.status_code})", advice)


def check_one_project(dsn: str | None, supabase_url: str | None) -> Iterator[Finding]:
    """Whether connection string and URL are of the same project, where both say of which."""
    of_url = _URL.fullmatch(urlsplit(supabase_url or "").hostname or "")
    of_dsn = _reference(dsn or "")
    if of_url and of_dsn and of_url[1] != of_dsn:
        yield Finding(
            "project",
            "fail",
            f"the connection string is of the project {of_dsn}, the URL of {of_url[1]}",
            "take both from one project's dashboard (Connect)",
        )


def _reference(dsn: str) -> str | None:
    """The project's reference in a connection string: in the direct host, or behind the user's name."""
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return None
    host, user = str(parts.get("host") or ""), str(parts.get("user") or "")
    if direct := _DIRECT.fullmatch(host):
        return direct[1]
    return user.rpartition(".")[2] if _POOLER.fullmatch(host) and "." in user else None


def check_project_keys(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the project's two keys are in each other's place."""
    for name, wrong, what, advice in (
        (
            "ASYOUWERE_PUBLISHABLE_KEY",
            "service_role",
            "a secret key, which passes row level security by",
            "take the publishable key (sb_publishable_…), and change this one: it has been where pages and logs are",
        ),
        ("ASYOUWERE_SERVICE_KEY", "anon", "a publishable key", "take the secret key (sb_secret_…)"),
    ):
        if role_of_key(environ.get(name) or "") == wrong:
            yield Finding("project keys", "fail", f"{name} is {what}", advice)
