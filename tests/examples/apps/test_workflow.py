"""The example `workflow`: two people draw one workflow, branch off, and merge back; and what goes wrong meanwhile."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.examples.apps.running import Example, check_looks, until
from tests.web.chromium.browser import Chromium

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

pytestmark = pytest.mark.slow


def node(page: Page, label: str) -> Locator:
    """A node of the picture by its label, whatever became of it."""
    return page.locator(f'.node[aria-label^="{label}"]')


def ready(page: Page) -> Page:
    node(page, "Question").wait_for()
    return page


def saved(page: Page) -> None:
    page.get_by_role("status").filter(has_text=re.compile("Saved|Up to date")).wait_for()


def place(page: Page, label: str) -> tuple[int, int]:
    """Where a node is."""
    found = re.findall(r"-?\d+", node(page, label).get_attribute("transform") or "")
    return int(found[0]), int(found[1])


def rename(page: Page, old: str, new: str) -> None:
    node(page, old).press("Enter")
    page.get_by_role("textbox", name="Step").fill(new)


def shows(page: Page, label: str, at: tuple[int, int]) -> None:
    until(lambda: node(page, label).count() == 1 and place(page, label) == at, f"{label} is not at {at}")


def state_of(example: Example, user: str, session: str) -> Any:
    return example.api(user).state(session)


def session_of(example: Example, user: str) -> str:
    """The person's own workflow."""
    return str(example.api(user).get("/by-key", key="workflow")["id"])


def branch_off(page: Page, name: str) -> str:
    page.get_by_label("Branch").fill(name)
    page.get_by_role("button", name="Branch off").click()
    page.get_by_role("heading", name="This is a branch").wait_for()
    ready(page)
    return page.url.rpartition("session=")[2]


def test_workflow__two_people_draw_one_at_the_same_time(example: Example, context: BrowserContext) -> None:
    ada, ben = example.person(), example.person()
    hers = ready(example.open(context, ada))
    saved(hers)
    session = session_of(example, ada)
    example.api(ada).share(session, example.api(ben))
    his = context.new_page()
    his.goto(f"{example.url}?user={ben}&session={session}")
    ready(his)

    # each does something else to the same node, and a step more
    node(hers, "Search").press("ArrowDown")
    rename(his, "Search", "Look it up")
    his.get_by_role("button", name="Add a step").click()
    shows(hers, "Look it up", (300, 70))
    shows(his, "Look it up", (300, 70))
    node(hers, "New step").wait_for()

    # and by mouse
    box = node(his, "Answer").bounding_box()
    assert box is not None
    his.mouse.move(box["x"] + 20, box["y"] + 20)
    his.mouse.down()
    his.mouse.move(box["x"] + 50, box["y"] + 60, steps=3)
    his.mouse.up()
    shows(hers, "Answer", (570, 170))
    saved(his)
    nodes = state_of(example, ada, session)["nodes"]
    assert {one["label"] for one in nodes.values()} == {"Question", "Look it up", "Answer", "New step"}
    hers.bring_to_front()
    check_looks(hers, "workflow")


def test_workflow__drawn_offline_reloaded_and_there_when_the_line_is(example: Example, context: BrowserContext) -> None:
    ada = example.person()
    page = ready(example.open(context, ada))
    saved(page)
    example.line.is_down = True
    rename(page, "Search", "Offline work")
    page.get_by_role("status").filter(has_text=re.compile("Offline, . change")).wait_for()
    page.reload()
    node(page, "Offline work").wait_for()
    example.line.is_down = False
    saved(page)
    assert state_of(example, ada, session_of(example, ada))["nodes"]["search"]["label"] == "Offline work"


def test_workflow__tagged_compared_and_brought_back(example: Example, context: BrowserContext) -> None:
    ada = example.person()
    page = ready(example.open(context, ada))
    page.get_by_label("Tag").fill("first draft")
    page.get_by_role("button", name="Tag", exact=True).click()
    page.get_by_role("button", name="first draft").wait_for()

    page.get_by_role("button", name="Add a step").click()
    node(page, "Answer").press("Enter")
    page.get_by_role("button", name="Remove").click()
    rename(page, "Search", "Find")
    saved(page)
    page.get_by_role("button", name="first draft").click()
    # a picture of the difference: what is new, what is another one, and what is gone, where it was
    node(page, "New step, added").wait_for()
    node(page, "Find, changed").wait_for()
    node(page, "Answer, gone").wait_for()
    assert page.locator('.edge[data-change="gone"]').count() == 1
    assert node(page, "Question").get_attribute("data-change") == "same"
    check_looks(page, "workflow-difference")

    page.get_by_role("button", name="Go back to it").click()
    node(page, "Answer").wait_for()
    node(page, "Search").wait_for()
    assert node(page, "New step").count() == 0
    page.get_by_role("button", name="first draft").wait_for()  # and nothing in between is lost


def test_workflow__a_branch_is_merged_back(example: Example, context: BrowserContext) -> None:
    ada = example.person()
    page = ready(example.open(context, ada))
    saved(page)
    session = session_of(example, ada)
    branch_off(page, "shorter")
    rename(page, "Search", "Remember")
    page.get_by_role("button", name="Add a step").click()

    # meanwhile the workflow itself goes on, elsewhere
    main = ready(example.open(context, ada))
    main.get_by_role("link", name="shorter").wait_for()
    node(main, "Answer").press("ArrowRight")
    saved(main)
    page.get_by_role("button", name="Merge back").click()
    page.get_by_role("heading", name="Branches").wait_for()
    shows(page, "Answer", (550, 130))
    nodes = state_of(example, ada, session)["nodes"]
    assert {one["label"] for one in nodes.values()} == {"Question", "Remember", "Answer", "New step"}
    node(main, "Remember").wait_for()


def test_workflow__a_conflict_is_named_and_decided(example: Example, context: BrowserContext) -> None:
    ada = example.person()
    page = ready(example.open(context, ada))
    saved(page)
    session = session_of(example, ada)
    branch_off(page, "other words")
    rename(page, "Search", "Mine")
    rename(page, "Question", "Request")
    node(page, "Request").press("ArrowDown")
    main = ready(example.open(context, ada))
    rename(main, "Search", "Theirs")
    node(main, "Question").press("Enter")
    main.get_by_role("button", name="Remove").click()
    saved(main)
    before = state_of(example, ada, session)

    page.get_by_role("button", name="Merge back").click()
    page.get_by_text("Nothing was merged yet").wait_for()
    assert state_of(example, ada, session) == before
    # the other one's words, and this branch's step, which is gone there
    page.get_by_role("group", name="Mine").get_by_label("the other one’s").check()
    page.get_by_role("group", name="Request").get_by_label("this branch’s").check()
    page.bring_to_front()
    check_looks(page, "workflow-conflict")
    page.get_by_role("button", name="Merge with these").click()
    page.get_by_role("heading", name="Branches").wait_for()
    node(page, "Theirs").wait_for()
    node(page, "Request").wait_for()
    nodes = state_of(example, ada, session)["nodes"]
    assert nodes["start"] == {"label": "Request", "x": 60, "y": 140}
    assert nodes["search"]["label"] == "Theirs"


def test_workflow__where_nothing_is_kept_it_is_shown_as_it_was_saved_and_not_as_a_new_one(
    example: Example, context: BrowserContext, shared_browser: Chromium
) -> None:
    ada = example.person()
    page = ready(example.open(context, ada))
    node(page, "Search").press("ArrowDown")
    saved(page)
    example.line.delay = 1
    elsewhere = shared_browser.new_context()
    other = ready(example.open(elsewhere, ada))
    assert place(other, "Search") == (300, 70)
    elsewhere.close()


def test_workflow__what_does_not_work_is_said_in_words(example: Example, context: BrowserContext) -> None:
    ada = example.person()
    page = ready(example.open(context, ada))
    saved(page)
    branch_off(page, "once")
    page.get_by_role("link", name="To where it came from").click()
    page.get_by_role("heading", name="Branches").wait_for()
    ready(page)
    page.get_by_label("Branch").fill("once")
    page.get_by_role("button", name="Branch off").click()
    page.get_by_text("There is a branch of this name already.").wait_for()
    example.line.is_down = True
    page.get_by_role("button", name="Version 1").click()
    page.get_by_text("The server can't be reached").wait_for()

    stranger = context.new_page()
    stranger.goto(f"{example.url}?user=nobody")
    stranger.get_by_text("There is nobody called “nobody” here").wait_for()


def test_workflow__what_is_not_shared_is_not_shown(example: Example, context: BrowserContext) -> None:
    ada, eve = example.person(), example.person()
    saved(ready(example.open(context, ada)))
    page = context.new_page()
    page.goto(f"{example.url}?user={eve}&session={session_of(example, ada)}")
    page.get_by_text("There is no such workflow, or it is not shared with you.").wait_for()
