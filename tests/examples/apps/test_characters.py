"""The example `characters`, used as people use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

    from tests.examples.apps.running import Example

pytestmark = pytest.mark.slow


def test_characters__what_is_said_is_there_after_a_reload(example: Example, context: BrowserContext) -> None:
    page = example.open(context, example.person())

    page.get_by_label("Message").fill("Where were we?")
    page.get_by_role("button", name="Send").click()
    page.reload()

    page.get_by_text("Where were we?").wait_for()
