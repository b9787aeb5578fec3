"""leftoff on Google Cloud: `pulumi up` in this folder. What it makes and why: README.md."""

from leftoff_infra.configuration import Configuration
from leftoff_infra.program import deploy, export

export(deploy(Configuration.of_stack()))
