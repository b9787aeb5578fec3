"""What can go wrong on this machine, each said in one line that tells what to do.

LocalError
├── FolderInUse         another asyouwere holds the data folder
├── FolderUnusable      the data folder is not ours, of another version, or of another user
├── NotRunning          a command needs the running stack, and nothing runs
├── PostgresMissing     no Postgres binaries
├── PostgresFailed      Postgres did not start
├── UserUnusable        Postgres cannot run as this user, and no other could be chosen
├── MigrationRefused    the recorded history does not fit the files
├── MigrationFailed     a migration file raised an error
├── ServerFailed        the functions or the Supabase server did not start
└── SupabaseMissing     what the local Supabase needs is not here; all else works without it
    └── NodeMissing     no Node.js that is new enough
"""

from __future__ import annotations

from pathlib import Path


class LocalError(Exception):
    """Something on this machine keeps asyouwere from running. The message is one line for a person."""


class FolderInUse(LocalError):
    """Another process uses the data folder."""


class FolderUnusable(LocalError):
    """The data folder cannot be used as it is."""


def unusable(folder: Path, error: OSError) -> FolderUnusable:
    """For a folder that the system does not let us make or write, in its own words."""
    return FolderUnusable(
        f"{folder} cannot be made or written ({error.strerror or error}): choose another folder with --data"
    )


class NotRunning(LocalError):
    """Nothing runs with the data folder."""


class PostgresMissing(LocalError):
    """The Postgres binaries are not installed."""


class PostgresFailed(LocalError):
    """Postgres did not start, or stopped at once."""


class UserUnusable(LocalError):
    """Postgres cannot run as this user."""


class MigrationRefused(LocalError):
    """The migrations recorded in the database and the files here do not fit together."""


class MigrationFailed(LocalError):
    """A migration raised an error; its transaction was rolled back."""


class ServerFailed(LocalError):
    """A server of ours did not start."""


class SupabaseMissing(LocalError):
    """Node.js or the packages for the local Supabase are not here and could not be got."""


class NodeMissing(SupabaseMissing):
    """There is no Node.js here that is new enough."""
