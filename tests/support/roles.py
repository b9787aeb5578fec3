"""Roles belong to the whole server, which several test processes may share."""

from __future__ import annotations

import time
from typing import Any

import psycopg
from psycopg import sql


def set_role_password(admin: psycopg.Connection[Any], role: str, password: str) -> None:
    """Give a role a password; waits for another process that is just doing the same."""
    statement = sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(password))
    for attempt in range(20):
        try:
            admin.execute(statement)
            return
        except psycopg.errors.InternalError_:  # "tuple concurrently updated"
            if attempt == 19:
                raise
            time.sleep(0.1)
