"""Running asyouwere on one machine: an embedded Postgres, migrations, the functions server, the demo.

Nothing in here is needed by the deployed functions, and nothing of theirs imports it.
"""
