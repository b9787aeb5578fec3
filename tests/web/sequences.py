"""Random sequences of what browser clients do, against the real server: the long run of web/tests/property.test.ts.

python -m tests.web.sequences [--sequences 20000] [--seed 1]
"""

from __future__ import annotations

import argparse
import subprocess
import sys

import psycopg

from asyouwere.local.migrations import migrate
from asyouwere.local.node import find_node
from tests.support.cluster import running_cluster
from tests.support.roles import set_role_password
from tests.web.conftest import WEB, node_environment
from tests.web.servers import running_servers

# They are run in batches, so that a failure is told when it is found.
BATCH = 500


def main() -> int:
    """Run them; 1 once a batch has failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.web.sequences")
    parser.add_argument("--sequences", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first one")
    given = parser.parse_args()
    with running_cluster() as cluster, psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute(b"create database asyouwere_web")
        migrate(cluster.dsn_for("asyouwere_web"), bootstrap=True)
        set_role_password(admin, "authenticator", cluster.password)
        with running_servers(cluster, "asyouwere_web") as variables:
            end = given.seed + given.sequences
            for seed in range(given.seed, end, BATCH):
                count = min(BATCH, end - seed)
                numbers = {"ASYOUWERE_WEB_SEQUENCES": str(count), "ASYOUWERE_WEB_SEED": str(seed)}
                vitest = ["node_modules/vitest/vitest.mjs", "run", "tests/property.test.ts"]
                command = [find_node().program, *vitest]
                environment = node_environment({**variables, **numbers})
                if subprocess.run(command, cwd=WEB, env=environment, check=False).returncode:
                    print(f"A sequence from {seed} to {seed + count - 1} did not end as it should.", flush=True)
                    return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
