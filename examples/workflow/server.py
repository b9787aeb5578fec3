"""The example on this machine: a page over the functions, and nothing else."""

from __future__ import annotations

from starlette.applications import Starlette

from examples.stack import Stack


def create(stack: Stack) -> Starlette:
    """No addresses of its own: the page asks the functions for everything."""
    return Starlette()
