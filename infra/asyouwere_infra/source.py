"""The functions' source, uploaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pulumi
from pulumi import ResourceOptions
from pulumi_gcp import storage

from asyouwere_infra.archive import archive
from asyouwere_infra.configuration import Configuration

__all__ = ["BUILD", "Source"]

#: Where the archive is put together; not under version control.
BUILD = Path(__file__).parents[1] / ".build"


class Source:
    """bucket and object: what every function is built from. The object's name is of its content: a changed
    source is a new object, and every function is built anew; an unchanged one changes nothing."""

    def __init__(self, configuration: Configuration, apis: Sequence[pulumi.Resource]) -> None:
        packed, digest = archive(telemetry=configuration.telemetry)
        BUILD.mkdir(exist_ok=True)
        path = BUILD / f"functions-{digest[:16]}.zip"
        path.write_bytes(packed)
        self.bucket = storage.Bucket(
            "source",
            name=f"{configuration.project}-asyouwere-source",
            location=configuration.region,
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            # Only sources, which every deployment uploads anew: nothing is lost with it.
            force_destroy=True,
            labels=configuration.all_labels,
            opts=ResourceOptions(depends_on=apis),
        )
        self.object = storage.BucketObject(
            "source-archive",
            name=path.name,
            bucket=self.bucket.name,
            source=pulumi.FileAsset(str(path)),
            content_type="application/zip",
        )
