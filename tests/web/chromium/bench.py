"""What the browser package takes in Chromium:  python -m tests.web.chromium.bench

Medians of several runs. A busy machine shows in the numbers: run it alone.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from pathlib import Path

from asyouwere.local.node import find_node
from tests.web.chromium.browser import Chromium
from tests.web.chromium.line import serving_files

ROOT = Path(__file__).parents[3]
WEB = ROOT / "web"
PAGES = Path(__file__).parent / "pages"

WRITE = "async (count) => { await journal.write(record('bench', { messages: messages(count) }, { number: count })); }"
READ = "async () => { const from = performance.now(); await journal.load('bench'); return performance.now() - from; }"
# The longest task while somebody types into the last of 10,000 messages, each key journalled.
TYPE = """async (count) => {
    const list = messages(count); const { apply, diff } = core; let base = { messages: list }, local = base, longest = 0;
    await journal.write(record('typed', base));
    for (let n = 0; n < 50; n++) {
        const from = performance.now();
        local = apply(local, { set: { [`/messages/${count - 1}`]: { role: 'user', content: 'x'.repeat(n) } } });
        const end = journal.write(record('typed', base, { pending: diff(base, local) }));
        longest = Math.max(longest, performance.now() - from);
        await end;
    }
    return longest; }"""
SAVES = """async (count) => { for (let n = 0; n < count; n++)
    await journal.write(record('saves', { messages: messages(20), n }, { number: n })); }"""


def heap(chromium: Chromium, page: object) -> float:
    """Bytes in use by a page after a collection, in MB."""
    session = chromium.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6


def main() -> None:
    """Print the figures."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, sync_playwright() as playwright:
        root = Path(name)
        esbuild = [find_node().program, str(WEB / "node_modules/esbuild/bin/esbuild")]
        entries = [str(PAGES / "journal.ts"), "--bundle", "--format=esm", "--target=es2022"]
        subprocess.run([*esbuild, *entries, f"--outdir={root}", "--log-level=warning"], check=True, cwd=ROOT)
        (root / "journal.html").write_bytes((PAGES / "journal.html").read_bytes())
        (root / "profile").mkdir()
        chromium = Chromium(playwright, root / "profile").start()
        with serving_files({"pages": root}) as url:
            page = chromium.context.new_page()
            for count, limit in ((100, 10), (1_000, 0), (10_000, 100)):
                page.goto(f"{url}/pages/journal.html")
                page.wait_for_function("window.journal")
                page.evaluate(WRITE, count)
                times = []
                for _ in range(7):
                    page.reload()
                    page.wait_for_function("window.journal")
                    times.append(page.evaluate(READ))
                wanted = f" (at most {limit} ms wanted)" if limit else ""
                print(f"last screen of {count} messages from IndexedDB: {statistics.median(times):.1f} ms{wanted}")
            longest = page.evaluate(TYPE, 10_000)
            print(f"longest task of a keystroke at 10,000 messages: {longest:.1f} ms (at most 50 ms wanted)")
            page.evaluate(SAVES, 100)
            before = heap(chromium, page)
            page.evaluate(SAVES, 10_000)
            print(f"heap after 100 saves {before:.2f} MB, after 10,000 {heap(chromium, page):.2f} MB")
        chromium.close()


if __name__ == "__main__":
    main()
