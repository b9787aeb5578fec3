"""asyouwere against other session stores, each through its own documented interface, on one Postgres, in one run.

Every store is a *side*: a process of its own (see `sides`) that is told by JSON lines what to do and measures
itself. Other people's libraries live in an environment of their own (`environment`), never in ours.
"""
