"""asyouwere on Google Cloud: `pulumi up` in this folder. What it makes and why: README.md."""

import sys
from pathlib import Path

# The functions' settings are declared there, once; that module needs nothing but Python's own library.
sys.path.append(str(Path(__file__).resolve().parents[1] / "functions"))

from asyouwere_infra.configuration import Configuration
from asyouwere_infra.program import deploy, export

export(deploy(Configuration.of_stack()))
