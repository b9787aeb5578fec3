"""A deployment as the Pulumi program asks for it, to be looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

#: The least that each mode of the database needs.
DIRECT: dict[str, Any] = {
    "supabaseUrl": "https://abc.supabase.co",
    "databaseUrl": "postgresql://planted-database-secret",
    "cleanupDatabaseUrl": "postgresql://planted-clean-up-secret",
}
POSTGREST = {
    "database": "postgrest",
    "supabaseUrl": "https://abc.supabase.co",
    "publishableKey": "sb_publishable_1",
    "serviceKey": "planted-service-secret",
    "databaseUrl": "postgresql://planted-database-secret",  # left over from the other mode: nobody gets it
    "cleanupDatabaseUrl": "postgresql://planted-clean-up-secret",
}
#: Everything that can be asked for, with each function apart.
FULL = {
    **DIRECT,
    "jwtSecret": "planted-jwt-secret",
    "services": "four",
    "domain": "api.example.com",
    "allowedOrigins": ["https://a.example", "https://b.example"],
    "alertEmails": ["on-call@example.com"],
    "notificationChannels": ["projects/a-project/notificationChannels/1"],
    "labels": {"team": "chat"},
    "poolSize": "4",
    "functions": {"sessions": {"min_instances": 1, "max_instances": 3, "concurrency": 2}},
    "thresholds": {"p99_ms": 500},
    "telemetry": "on",
    "telemetryHeaders": "x-key=planted-telemetry-key",
    "environment": {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://otel.example", "OTEL_SERVICE_NAME": "chat"},
    "requestsPerMinute": 600,
    "budget": {"billing_account": "012345-6789AB-CDEF01", "units": 50},
}


@dataclass
class Stack:
    """made: {type, name, inputs, after} of every resource, with the names of what it waits for; refused: why there is
    none."""

    made: list[dict[str, Any]] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    refused: str = ""

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """Inputs of the resources of one kind ("storage/bucket:Bucket"), by their name in the program."""
        return {item["name"]: item["inputs"] for item in self.made if item["type"] == f"gcp:{kind}"}

    def after(self, kind: str) -> dict[str, list[str]]:
        """What the resources of one kind ("gcp:storage/bucket:Bucket") wait for, by their name in the program."""
        return {item["name"]: item["after"] for item in self.made if item["type"] == kind}

    @property
    def functions(self) -> dict[str, dict[str, Any]]:
        """The Cloud Run functions."""
        return self.of("cloudfunctionsv2/function:Function")

    @property
    def public(self) -> set[str]:
        """Those that anybody may reach."""
        return self.functions.keys() - {"cleanup-old-snapshots"}


def run(*stacks: dict[str, Any]) -> list[Stack]:
    """The program with the settings of each stack, against mocks; all in one process, as Pulumi starts slowly."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "GOOGLE_"))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.infra.mocked"],
        input=json.dumps(stacks),
        env={**clean, "PYTHONPATH": str(ROOT / "infra")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return [Stack(**found) for found in json.loads(done.stdout)]
