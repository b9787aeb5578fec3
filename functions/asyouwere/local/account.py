"""As whom Postgres runs: it refuses to run as root, so root has to step down to an ordinary user.

When the clone lies where that user may not look (say in /root, mode 700), Postgres keeps one capability:
to read and search any folder, and nothing else of what root may do.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from asyouwere.local.errors import PostgresFailed, UserUnusable

# Bit numbers from linux/capability.h. The first is the smaller right; containers often hold only the second.
CAPABILITIES = {"dac_read_search": 2, "dac_override": 1}
CAP_SETPCAP = 8

CAN_REACH = 'test -x "$0" && test -w "$1"'  # $0: a program, $1: a folder


@dataclass(frozen=True)
class Account:
    """The user who runs Postgres, and what must be put in front of a command to become that user.

    `prefix` is empty unless a capability has to be kept; then it is a `setpriv` command line.
    """

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()

    @property
    def is_other(self) -> bool:
        """Whether this is somebody else than the current user."""
        return self.uid != os.geteuid()

    def give(self, path: Path) -> None:
        """Make a file or folder this user's own."""
        if self.is_other:
            os.chown(path, self.uid, self.gid)

    def popen(
        self, command: list[str], output: int | IO[Any], environment: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start a program as this user, away from the terminal's Ctrl-C, its output in a file or pipe."""
        step_down: dict[str, Any] = {}
        if self.is_other and not self.prefix:
            step_down = {"user": self.uid, "group": self.gid, "extra_groups": []}
        try:
            return subprocess.Popen(
                [*self.prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd="/",
                # A session of its own: Ctrl-C reaches us, and we stop Postgres in order.
                start_new_session=True,
                **step_down,
            )
        except OSError as exc:
            raise PostgresFailed(f"could not start {command[0]}: {exc}") from exc


def choose_account(data: Path, program: Path) -> Account:
    """The user for Postgres: oneself; for root the owner of the data or the clone, `postgres` or `nobody`.

    `data` is the data folder, which need not exist yet (its parent must); `program` is the `postgres` binary.
    Raises UserUnusable with what to do when nobody fits.
    """
    if os.geteuid() != 0:
        return _oneself()
    entry = _step_down_to(data)
    reached = data if data.is_dir() else data.parent
    account = Account(entry.pw_uid, entry.pw_gid)
    if _reaches(account, program, reached, writable=data.is_dir()):
        return account
    for prefix in _capability_prefixes(entry):
        account = Account(entry.pw_uid, entry.pw_gid, prefix)
        if _reaches(account, program, reached, writable=data.is_dir()):
            return account
    raise UserUnusable(
        f"Postgres does not run as root, and the user {entry.pw_name} cannot reach {reached} and {program}: "
        "run as an ordinary user, or move the clone out of root's private folder (for example to /srv)"
    )


def _oneself() -> Account:
    uid = os.geteuid()
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise UserUnusable(
            f"Postgres needs a user with a name, and user id {uid} has none: "
            "add it to /etc/passwd or run as another user"
        ) from None
    return Account(uid, os.getegid())


def _step_down_to(data: Path) -> pwd.struct_passwd:
    """Whoever owns the data already; else the first ordinary owner of a folder above; else a system user."""
    if data.is_dir() and (owner := data.stat().st_uid) != 0:
        try:
            return pwd.getpwuid(owner)
        except KeyError:
            raise UserUnusable(
                f"{data} belongs to user id {owner}, which has no name here: "
                "give it to another user with chown -R, or choose another folder with --data"
            ) from None
    for folder in data.parents:
        if folder.is_dir() and (owner := folder.stat().st_uid) != 0:
            # A clone copied from elsewhere may have its owner's bare number; the next one above will do.
            with contextlib.suppress(KeyError):
                return pwd.getpwuid(owner)
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise UserUnusable(
        "Postgres does not run as root, and there is no user postgres or nobody: run as an ordinary user"
    )


def _reaches(account: Account, program: Path, folder: Path, *, writable: bool) -> bool:
    """Whether this user can run the program and use the folder: tried, not reckoned from modes and mounts."""
    check = CAN_REACH if writable else CAN_REACH.replace("-w", "-x")
    try:
        tried = account.popen(
            ["/bin/sh", "-c", check, str(program), str(folder)], subprocess.DEVNULL, {"PATH": os.defpath}
        )
    except PostgresFailed as exc:
        if isinstance(exc.__cause__, PermissionError):
            return False  # a root without the right to become somebody else
        raise
    return tried.wait() == 0


def _capability_prefixes(entry: pwd.struct_passwd) -> list[tuple[str, ...]]:
    """`setpriv` command lines that become this user and keep one capability, the smaller one first."""
    setpriv = shutil.which("setpriv")
    held = _held_capabilities()
    if setpriv is None or not held >> CAP_SETPCAP & 1:
        return []
    return [
        (
            setpriv,
            f"--reuid={entry.pw_uid}",
            f"--regid={entry.pw_gid}",
            "--clear-groups",
            # Postgres asks access(2) about its own files, which counts capabilities only with this bit set.
            "--securebits=+no_setuid_fixup",
            f"--inh-caps=-all,+{name}",
            f"--ambient-caps=-all,+{name}",
            f"--bounding-set=-all,+{name}",
            "--no-new-privs",
        )
        for name, bit in CAPABILITIES.items()
        if held >> bit & 1
    ]


def _held_capabilities() -> int:
    """This process's permitted capabilities as a bit mask; 0 where the system has none to show."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1], 16) for line in lines if line.startswith("CapPrm:")), 0)
