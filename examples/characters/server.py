"""The characters' page."""

from __future__ import annotations

from starlette.applications import Starlette

from examples.stack import Stack


def create(stack: Stack) -> Starlette:
    """The example's own addresses."""
    return Starlette()
