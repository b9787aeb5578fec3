"""Runs the Pulumi program against Pulumi's mocks, in a process of its own (Pulumi leaves its event loops open):

python -m tests.infra.mocked < settings.json > made.json

No command of Pulumi's, no account, no network. The settings are those of a stack, without the namespace.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import mocks, set_all_config, set_mocks

PROJECT, NUMBER, REGION = "a-project", "123456789012", "europe-west1"
SECRETS = ("databaseUrl", "cleanupDatabaseUrl", "serviceKey", "jwtSecret", "telemetryHeaders")


class Recorded(mocks.MockMonitor):
    """Writes down what each resource was told to wait for, by the names in the program."""

    def RegisterResource(self, request: Any) -> Any:
        answer = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        for made in self.mocks.made:  # type: ignore[attr-defined]
            if (made["type"], made["name"]) == (request.type, request.name):
                made["after"] = sorted(urn.rsplit("::", 1)[-1] for urn in request.dependencies)
        return answer


class Google(mocks.Mocks):
    """Answers as Google would: what was asked for, and what it computes itself."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []

    def call(self, args: mocks.MockCallArgs) -> Any:
        assert args.token == "gcp:organizations/getProject:getProject", args.token
        return {"number": NUMBER, "projectId": PROJECT}, []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        if args.typ.startswith("pulumi:pulumi:"):
            return "", {}
        inputs = dict(args.inputs)
        self.made.append({"type": args.typ, "name": args.name, "inputs": inputs})
        given = f"{args.typ.split(':')[-1]}/{args.name}"
        computed: dict[str, Any] = {"name": given}
        if args.typ.endswith(":Account"):
            email = f"{inputs['accountId']}@{PROJECT}.iam.gserviceaccount.com"
            computed = {"email": email, "name": f"projects/{PROJECT}/serviceAccounts/{email}"}
        if args.typ.endswith(":SecretVersion"):
            computed = {"version": "7"}
        if args.typ.endswith(":DnsAuthorization"):
            computed = {"dnsResourceRecords": [{"name": "_acme.x.", "type": "CNAME", "data": "y."}]}
        return given, {**computed, **inputs}


def declare(settings: dict[str, Any]) -> dict[str, Any]:
    """Resources and outputs of one stack, or why it is refused."""
    from asyouwere_infra.configuration import Configuration, ConfigurationError
    from asyouwere_infra.program import deploy

    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
    google = Google()
    set_mocks(google, project="asyouwere", stack="test", preview=False, monitor=Recorded(google))
    set_all_config(
        {
            "gcp:project": PROJECT,
            "gcp:region": REGION,
            **{f"asyouwere:{key}": text for key, text in texts.items()},
        },
        [f"asyouwere:{key}" for key in SECRETS],
    )
    outputs: dict[str, Any] = {}

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def program() -> Any:
        return pulumi.Output.from_input(deploy(Configuration.of_stack())).apply(outputs.update)

    try:
        program()
    except ConfigurationError as exc:
        return {"made": google.made, "refused": str(exc)}
    return {"made": google.made, "outputs": outputs}


def main() -> None:
    """A list of settings in, a list of what was made out."""
    from asyouwere_infra import source

    with tempfile.TemporaryDirectory() as build:
        source.BUILD = Path(build)
        found = [declare(settings) for settings in json.load(sys.stdin)]
    json.dump(found, sys.stdout, default=_asset)


def _asset(value: object) -> str:
    assert isinstance(value, pulumi.FileAsset)
    return f"file {Path(value.path).name}"


if __name__ == "__main__":
    main()
