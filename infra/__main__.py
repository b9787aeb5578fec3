"""asyouwere on Google Cloud: `pulumi up` in this folder. What it makes and why: README.md."""

from asyouwere_infra.configuration import Configuration
from asyouwere_infra.program import deploy, export

export(deploy(Configuration.of_stack()))
