"""Everything that asyouwere is, on this machine: Postgres, migrations, a demo user, the functions server.

    with LocalStack(Path(".asyouwere")) as stack:
        headers = {"Authorization": f"Bearer {stack.token('demo')}"}
        httpx.post(f"{stack.url}/sessions", headers=headers, json={"name": "First try"})

With `supabase=True` and Node.js there is also a local Supabase at `stack.supabase.url`, for supabase-js and
supabase-py.

The folder holds `postgres-18/`, `secrets.json` (mode 600: what tokens are signed with, and the password the
functions log in with), `functions.log`, `supabase.log`, `mailbox.txt` (mail to people who sign in) and, while it
runs, `running.json` (where everything is; see `running.py`).
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg
from psycopg import sql

from asyouwere.local.binaries import PostgresBinaries, from_wheel
from asyouwere.local.errors import FolderUnusable, ServerFailed, SupabaseMissing, unusable
from asyouwere.local.functions_server import PAGE_VARIABLE, FunctionsServer
from asyouwere.local.migrations import migrate
from asyouwere.local.page.building import build_page
from asyouwere.local.page.model import model_settings
from asyouwere.local.page.people import PAGE_USERS
from asyouwere.local.ports import LOOPBACK
from asyouwere.local.postgres import EmbeddedPostgres
from asyouwere.local.running import Announcement, RunningStack, find_running, require_running
from asyouwere.local.supabase.server import AUTH_ROLE, SupabaseServer, prepare_database
from asyouwere.local.tokens import AUDIENCE, ISSUER, email_of, sign_api_key, sign_token, user_id

DEFAULT_FOLDER = ".asyouwere"
DEFAULT_PORT = 8787
DEFAULT_POSTGRES_PORT = 54318
DEFAULT_SUPABASE_PORT = 54321  # where `supabase start` has it
DEMO_USER = "demo"
# Pages that somebody serves on this machine, on any port: Vite, Next.js and whatever else they develop with.
LOCAL_ORIGINS = "http://localhost:*,http://127.0.0.1:*,http://[::1]:*,https://localhost:*,https://127.0.0.1:*"
API_ROLE = "authenticator"


@dataclass(frozen=True)
class Secrets:
    """Random, made once for each data folder."""

    jwt_secret: str
    api_password: str

    def derived(self, purpose: str) -> str:
        """A further password, the same each time, that tells nothing of the secrets here."""
        digest = hmac.digest(self.jwt_secret.encode(), purpose.encode(), "sha256")
        return base64.b32encode(digest).decode().lower()[:24]

    def __repr__(self) -> str:
        return "Secrets(***)"


def data_folder(named: Path | None = None) -> Path:
    """The folder for all data: the one named, else ASYOUWERE_DATA, else `.asyouwere` here."""
    return (named or Path(os.environ.get("ASYOUWERE_DATA") or DEFAULT_FOLDER)).absolute()


def read_secrets(folder: Path, *, make: bool = False) -> Secrets:
    """The secrets of a data folder. Raises FolderUnusable when there are none, unless `make` makes them."""
    path = folder / "secrets.json"
    if make and not path.exists():
        fresh = Secrets(secrets.token_urlsafe(48), secrets.token_urlsafe(24))
        # Written beside and renamed: a file that is half written never counts.
        part = path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(fresh), file)
        part.rename(path)
    try:
        return Secrets(**json.loads(path.read_text()))
    except FileNotFoundError:
        raise FolderUnusable(
            f"there is no {path}: start `asyouwere run` once, or name its folder by --data"
        ) from None
    except PermissionError:
        raise FolderUnusable(
            f"{path} belongs to another user: run as that user, or choose another by --data"
        ) from None
    except (ValueError, TypeError):
        raise FolderUnusable(
            f"{path} cannot be read: remove it, and a new one is made at the next start"
        ) from None


def client_settings(folder: Path) -> dict[str, str]:
    """What clients of the running stack need, by environment name: URLs, and with a local Supabase its keys.

    Raises NotRunning: nothing is told of a stack that has ended, whose port may be anybody's by now.
    """
    running = require_running(folder)
    settings = {"FUNCTIONS_URL": running.functions_url}
    if running.supabase_url is not None:
        known = read_secrets(folder)
        settings |= {
            "SUPABASE_URL": running.supabase_url,
            "SUPABASE_ANON_KEY": sign_api_key(known.jwt_secret, "anon"),
            "SUPABASE_SERVICE_ROLE_KEY": sign_api_key(known.jwt_secret, "service_role"),
            "DEMO_EMAIL": email_of(DEMO_USER),
            "DEMO_PASSWORD": known.derived("demo password"),
        }
    return settings


class LocalStack:
    """Postgres and the functions server with one data folder, and a local Supabase where that is asked for.

    folder: see `data_folder`; the ports: tried first, else the next free ones; 0 means any. supabase: start
    that, too; where it cannot be had (no Node.js), `say` is told why and all else works.
    page: build and serve the page, where this is a clone and Node.js is there.
    binaries: which Postgres, default the 18 from the wheel. environment: further settings for the functions
    (ASYOUWERE_…). say: told one line for each thing worth knowing.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int = DEFAULT_PORT,
        postgres_port: int = DEFAULT_POSTGRES_PORT,
        supabase_port: int = DEFAULT_SUPABASE_PORT,
        supabase: bool = False,
        page: bool = False,
        binaries: PostgresBinaries | None = None,
        environment: dict[str, str] | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.folder = data_folder(folder)
        self.log = self.folder / "functions.log"
        binaries = binaries or from_wheel(18)
        self.postgres = EmbeddedPostgres(
            self.folder / f"postgres-{binaries.major}", binaries=binaries, port=postgres_port, say=say
        )
        self.functions = FunctionsServer({}, log=self.log, port=port)
        self.supabase = SupabaseServer(self.folder, port=supabase_port)
        self._with_supabase = supabase
        self._with_page = page
        self._page: Path | None = None
        self._extra = environment or {}
        self._say = say
        self._secrets: Secrets | None = None
        self._announcement = Announcement(self.folder)

    @property
    def url(self) -> str:
        """Where the functions are: `http://127.0.0.1:<port>/functions/v1`."""
        return self.functions.url

    @property
    def page_url(self) -> str | None:
        """Where the page is; None if there is none to look at."""
        return f"http://{LOOPBACK}:{self.functions.port}/" if self._page is not None else None

    @property
    def dsn(self) -> str:
        """A superuser's connection string; contains the password."""
        return self.postgres.dsn

    @property
    def secrets(self) -> Secrets:
        """The folder's secrets, from the first start on."""
        if self._secrets is None:
            self._secrets = read_secrets(self.folder)
        return self._secrets

    @property
    def environment(self) -> dict[str, str]:
        """The settings of the functions. They log in as the API does, never as superuser."""
        return {
            "ASYOUWERE_DATABASE_URL": self.postgres.dsn_for("postgres", API_ROLE, self.secrets.api_password),
            "ASYOUWERE_JWT_SECRET": self.secrets.jwt_secret,
            "ASYOUWERE_JWT_ISSUER": ISSUER,
            "ASYOUWERE_JWT_AUDIENCE": AUDIENCE,
            "ASYOUWERE_ALLOWED_ORIGINS": LOCAL_ORIGINS,
            **({PAGE_VARIABLE: str(self._page), **model_settings()} if self._page is not None else {}),
            **self._extra,
        }

    def token(self, user: str = DEMO_USER, **options: Any) -> str:
        """A token for a local user; see `tokens.sign_token` for the options."""
        return sign_token(self.secrets.jwt_secret, user, **options)

    def api_key(self, role: str) -> str:
        """The Supabase key for the role anon or service_role."""
        return sign_api_key(self.secrets.jwt_secret, role)

    @property
    def demo_password(self) -> str:
        """What the demo user signs in with at the local Supabase."""
        return self.secrets.derived("demo password")

    def start(self) -> None:
        """Start Postgres, bring the database up to date, start the functions. Raises LocalError."""
        with ThreadPoolExecutor(1) as aside:
            # npm and Postgres each wait for something else.
            building = aside.submit(build_page, self._say) if self._with_page else None
            self.start_postgres()
            self._page = building.result() if building is not None else None
        try:
            launched = self._with_supabase and self._launch_supabase()
            self.start_functions()
            if launched:
                self._finish_supabase()
            supabase_url = self.supabase.url if self.supabase.running else None
            self._announcement.publish(RunningStack(self.url, self.dsn, supabase_url))
        except BaseException:
            self.stop()
            raise

    def start_postgres(self) -> None:
        """Start Postgres alone, migrated and with the demo user."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise unusable(self.folder, exc) from exc
        self.postgres.start()
        try:
            self._secrets = read_secrets(self.folder, make=True)
            if applied := migrate(self.postgres.dsn, bootstrap=True, warn=self._say):
                self._say(
                    f"the database is up to date: applied {applied[0].version} to {applied[-1].version}"
                )
            with psycopg.connect(self.postgres.dsn, autocommit=True) as admin:
                admin.execute(
                    sql.SQL("alter role {} password {}").format(
                        sql.Identifier(API_ROLE), sql.Literal(self._secrets.api_password)
                    )
                )
                for name in (DEMO_USER, *PAGE_USERS):
                    add_user(admin, name)
        except BaseException:
            self.postgres.stop()
            raise

    def start_functions(self) -> None:
        """Start the functions server alone; Postgres must be there."""
        wanted = self.functions.port
        self.functions.environment = self.environment
        self.functions.start()
        if wanted not in (0, self.functions.port):
            self._say(f"port {wanted} is taken, so the functions listen on {self.functions.port}")

    def _launch_supabase(self) -> bool:
        """Let Node load its packages while the functions start; False, and a line why, where it cannot."""
        wanted = self.supabase.port
        try:
            self.supabase.install(self._say)
            self.supabase.launch()
        except (SupabaseMissing, ServerFailed) as exc:
            self._say(str(exc))
            return False
        if wanted not in (0, self.supabase.port):
            self._say(f"port {wanted} is taken, so the local Supabase listens on {self.supabase.port}")
        return True

    def _finish_supabase(self) -> None:
        password = self.secrets.derived("auth login")
        prepare_database(self.postgres.dsn, password)
        self.supabase.settings = {
            "apiUrl": self.postgres.dsn_for("postgres", API_ROLE, self.secrets.api_password),
            "authUrl": self.postgres.dsn_for("postgres", AUTH_ROLE, password),
            "jwtSecret": self.secrets.jwt_secret,
            "issuer": ISSUER,
            "functionsPort": self.functions.port,
            "demo": {
                "id": str(user_id(DEMO_USER)),
                "email": email_of(DEMO_USER),
                "password": self.demo_password,
            },
        }
        try:
            self.supabase.wait_until_ready()
        except ServerFailed as exc:
            self._say(str(exc))

    def stop(self) -> None:
        """Stop all in order; harmless when they are not running."""
        self._announcement.withdraw()
        self.supabase.stop()
        self.functions.stop()
        self.postgres.stop()

    def kill(self) -> None:
        """SIGKILL all at once, as a power cut would."""
        self._announcement.withdraw()
        self.supabase.kill()
        self.functions.kill()
        self.postgres.kill()

    def __enter__(self) -> LocalStack:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def doctor_settings(folder: Path) -> dict[str, str]:
    """What the doctor needs to know of a running stack's keys, as the functions' settings."""
    secret = read_secrets(folder).jwt_secret
    return {"ASYOUWERE_JWT_SECRET": secret, "ASYOUWERE_PUBLISHABLE_KEY": sign_api_key(secret, "anon")}


def introduce(folder: Path, name: str) -> None:
    """Let the running database know a local user, so that others can share with them; nothing if none runs."""
    running = find_running(folder)
    if running is not None:
        with psycopg.connect(running.database_url, autocommit=True) as admin:
            add_user(admin, name)


def add_user(admin: psycopg.Connection[Any], name: str) -> None:
    """Put a local user into auth.users; harmless when they are there.

    Without the address where somebody else has signed up with it.
    """
    admin.execute(
        "insert into auth.users (id, email) select %(id)s,"
        " case when not exists (select from auth.users where email = %(email)s) then %(email)s end"
        " on conflict (id) do nothing",
        {"id": user_id(name), "email": email_of(name)},
    )
