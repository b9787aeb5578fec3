"""asyouwere doctor on a hosted project: one that answers nobody, settings of two, keys in each other's place."""

from __future__ import annotations

import jwt
import pytest

from asyouwere.local.doctor import examine
from asyouwere.local.doctor.project import check_one_project, check_project_keys
from asyouwere.local.doctor.web import check_keys, check_rest
from tests.supabase.project import project

RANDOM = "q8Zx2LhT7vN4wKcR1sYpB6mD9fGjE3uA"
ONE, OTHER = "abcdefghijklmnopqrst", "tsrqponmlkjihgfedcba"


@pytest.mark.parametrize(
    ("status", "says", "advice"),
    [(540, "paused", "restore"), (402, "restricted", "dashboard"), (544, "in time", "database"), (522, "does not answer", "health")],
)
def test_project__that_answers_nobody_now_is_said_to(status: int, says: str, advice: str) -> None:
    with project(None, "Project paused", keys_status=status, rest_status=status) as url:
        found = {finding.check: finding for finding in [*check_keys({}, url), *check_rest(url, None)]}
    for check in ("keys", "rest"):
        assert (found[check].level, says in found[check].message, advice in found[check].advice) == ("fail", True, True)
        assert f"status {status}" in found[check].message


@pytest.mark.parametrize("secret", ["sb_secret_planted", jwt.encode({"role": "service_role"}, RANDOM, "HS256")])
def test_project_keys__in_each_others_place(secret: str) -> None:
    public = "sb_publishable_x" if secret.startswith("sb_") else jwt.encode({"role": "anon"}, RANDOM, "HS256")
    good = {"ASYOUWERE_PUBLISHABLE_KEY": public, "ASYOUWERE_SERVICE_KEY": secret}
    assert list(check_project_keys(good)) == []
    for name, key in (("ASYOUWERE_PUBLISHABLE_KEY", secret), ("ASYOUWERE_SERVICE_KEY", public)):
        (finding,) = check_project_keys({**good, name: key})
        assert (finding.level, name in finding.message) == ("fail", True)
        assert key not in str(finding)
    for other in ("", "x", "a.b.c", "a.ey.c", jwt.encode({"sub": "x"}, RANDOM, "HS256")):
        assert list(check_project_keys(dict.fromkeys(good, other))) == []


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://postgres:planted@db.{ONE}.supabase.co:5432/postgres",
        f"postgresql://asyouwere_api.{ONE}:planted@aws-0-eu-central-1.pooler.supabase.com:6543/postgres",
        f"host=aws-1-us-east-1.pooler.supabase.com user=postgres.{ONE} password=planted",
    ],
)
def test_one_project__connection_string_and_url_of_two(dsn: str) -> None:
    assert list(check_one_project(dsn, f"https://{ONE}.supabase.co/")) == []
    (finding,) = check_one_project(dsn, f"https://{OTHER}.supabase.co")
    assert (finding.level, ONE in finding.message, OTHER in finding.message) == ("fail", True, True)
    assert "planted" not in str(finding)


@pytest.mark.parametrize(
    ("dsn", "url"),
    [
        (None, None),
        (f"postgresql://a@db.{ONE}.supabase.co/b", None),
        (f"postgresql://a@db.{ONE}.supabase.co/b", "https://api.example.com"),  # a domain of its own
        ("postgresql://a.b@db.example.com/b", f"https://{OTHER}.supabase.co"),
        ("postgresql://a@x.pooler.supabase.com/b", f"https://{OTHER}.supabase.co"),  # the pooler itself refuses that
        ("nonsense", f"https://{OTHER}.supabase.co"),
    ],
)
def test_one_project__is_not_guessed(dsn: str | None, url: str | None) -> None:
    assert list(check_one_project(dsn, url)) == []


def test_examine__looks_at_the_project() -> None:
    environ = {"ASYOUWERE_SERVICE_KEY": "sb_publishable_x", "ASYOUWERE_JWT_SECRET": RANDOM}
    assert "project keys" in [finding.check for finding in examine(None, environ)]
