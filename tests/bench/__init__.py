"""`make bench`: what asyouwere costs, measured against the barest thing that could be done instead.

    python -m tests.bench --quick        some minutes: fewer rounds, smaller sessions
    python -m tests.bench                the full run, an hour and more: a million sessions, a million saves
    python -m tests.bench --only saving  one group; `peers` installs other people's libraries at first, 300 MB

It starts a Postgres and a functions server of its own, measures, prints a table, writes a report and asserts
nothing: whether a target is met is for the reader to see. Each module is one group of measurements.
"""
