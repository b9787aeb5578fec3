"""The demo from start to end: a fresh data folder, the acts, the tables, the picture, the exit code."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from asyouwere.local.demo import report
from asyouwere.local.demo.conversation import build
from asyouwere.local.demo.picture import draw
from asyouwere.local.demo.play import KEEP, Play
from asyouwere.local.errors import LocalError
from asyouwere.local.lock import FolderLock
from asyouwere.local.processes import end_postgres
from asyouwere.local.stack import LocalStack, data_folder


def run(*, messages: int, keep: bool, folder: Path | None) -> int:
    """Play the demo and print it; 0 if every guarantee held, 1 if not.

    Raises LocalError for what a person can put right: the folder in use, no Postgres for this user.
    """
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal may know fewer characters
    begin = time.monotonic()
    console = report.console()
    folder = (folder or data_folder() / "demo").absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise LocalError(
            f"{folder} cannot be made ({exc.strerror}): choose another folder with --output"
        ) from exc
    lock = FolderLock(folder / "lock")
    lock.acquire()
    data = folder / "data"
    try:
        _clear(data)
        stack = LocalStack(data, port=0, postgres_port=0)
        console.print("[bold]asyouwere[/]  save, crash, restore")
        report.act(console, 1, "A conversation, and two crashes")
        script = build(messages)
        report.introduction(console, script)
        try:
            stack.start()
            play = Play(stack, script, lambda line: report.tell(console, line))
            try:
                with report.progress(console) as bars:
                    bar = bars.add_task("saving every turn", total=len(script.steps))
                    play.converse(lambda done: bars.update(bar, completed=done))
                report.act(console, 2, "Is everything there?")
                with report.progress(console) as bars:
                    bar = bars.add_task("restoring and comparing each version", total=len(script.steps))
                    play.look_back(lambda done: bars.update(bar, completed=done))
                report.act(console, 3, "Two devices")
                play.work_on_two_devices()
                report.tell(console, "A laptop and a phone saved at once, then contradicted each other.")
                report.act(console, 4, "What changed, and what may go")
                play.compare()
                report.differences(console, play.differences)
                play.clean_up()
                report.clean_up(console, play.cleaned, KEEP)
                report.act(console, 5, "An answer while it is made")
                play.stream()
            finally:
                play.close()
        finally:
            stack.stop()
        pictures = draw(play.measured, folder)
        report.act(console, 6, "Numbers")
        report.numbers(console, play.measured, play.documents.replaced)
        report.act(console, 7, "Guarantees")
        report.guarantees(console, play.guarantees)
        report.ending(console, play.guarantees, pictures, data if keep else None, time.monotonic() - begin)
        return 0 if play.guarantees.hold else 1
    finally:
        if not keep:
            _clear(data)
        lock.release()


def _clear(data: Path) -> None:
    """Remove a data folder of the demo, and first the Postgres that a killed demo may have left in it."""
    for server in data.glob("postgres-*/data"):
        end_postgres(server)
    if data.exists():
        shutil.rmtree(data)
