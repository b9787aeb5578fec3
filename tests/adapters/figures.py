"""`python -m tests.adapters.figures`: LangGraph's own saver and ours side by side, in one database of this machine."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg

from asyouwere.local.migrations import migrate
from tests.adapters.environment import frameworks_python
from tests.adapters.test_adapters import ROOT
from tests.support.cluster import running_cluster
from tests.support.database import Db
from tests.support.roles import set_role_password

MODULE = "tests.adapters.checks.langgraph_figures"


def main() -> int:
    """Prints a table; 1 if the frameworks can't be had."""
    python = frameworks_python()
    if isinstance(python, str):
        print(python, file=sys.stderr)
        return 1
    with running_cluster() as cluster, psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute("create database figures")
        migrate(cluster.dsn_for("figures"), bootstrap=True)
        set_role_password(admin, "authenticator", cluster.password)
        db = Db(cluster, "figures")
        command = [str(python), "-m", MODULE, db.api_dsn, str(db.user("ada")), db.dsn]
        status = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode
        db.close()
        admin.execute("drop database figures with (force)")
    return status


if __name__ == "__main__":
    sys.exit(main())
