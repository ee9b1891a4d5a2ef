"""A database that recipes/parts/postgresql keeps in S3: the distribution's PostgreSQL and client, the local region."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.instance import PARTS, USER_DATA, Instance
from tests.support.metadata import metadata_service
from tests.support.regions import client, region_at, served

# Where PostgreSQL is: the distribution's place, or that of a package unpacked elsewhere.
BINARIES = os.environ.get("AMI_FACTORY_TEST_POSTGRESQL") or next(
    (str(each) for each in sorted(Path("/usr/lib/postgresql").glob("*/bin")) if (each / "postgres").exists()), ""
)
USER = "nobody"
pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(
        not BINARIES or shutil.which("s3cmd") is None or os.geteuid() != 0, reason="needs PostgreSQL, s3cmd and root"
    ),
]
ENVIRONMENT = {"AMI_FACTORY_POSTGRESQL": BINARIES, "AMI_FACTORY_POSTGRESQL_USER": USER}


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    with served(region_at(tmp_path / "region")) as endpoint:
        client("s3", endpoint).create_bucket(Bucket="kept")
        yield endpoint


@contextmanager
def instance(root: Path, endpoint: str) -> Iterator[Instance]:
    """An instance with its server running, as the unit starts it."""
    settings = f"TARGET=s3://kept/db\nENDPOINT={endpoint}\nACCESS_KEY=local\nSECRET_KEY=local\n"
    user_data = "".join(f"POSTGRESQL_{line}\n" for line in settings.splitlines())
    for name in ("var/lib/postgresql", "run/postgresql"):
        (root / name).mkdir(parents=True, exist_ok=True)
        shutil.chown(root / name, USER)
    with metadata_service({"instance-id": f"i-{root.name}", USER_DATA: user_data}) as (address, _):
        script = str(root / "postgresql-s3")
        shutil.copy(PARTS / "postgresql/postgresql-s3", script)
        server = subprocess.Popen(
            [script, "serve"],
            user=USER,
            env={**os.environ, **ENVIRONMENT, "AMI_FACTORY_ROOT": str(root)},
            cwd="/",
            stderr=subprocess.DEVNULL,
        )
        try:
            limit = time.monotonic() + 60
            while not list((root / "run/postgresql").glob(".s.PGSQL.*.lock")) or sql(root, "select 1") != "1":
                assert server.poll() is None and time.monotonic() < limit
                time.sleep(0.2)
            yield Instance(root=root, metadata=address)
        finally:
            server.terminate()
            server.wait(30)


def sql(root: Path, statement: str) -> str:
    done = subprocess.run(
        [f"{BINARIES}/psql", "-h", root / "run/postgresql", "-U", USER, "-d", "postgres", "-Atc", statement],
        user=USER,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    return done.stdout.strip()


@pytest.fixture
def roots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Two roots that another user can reach: a socket's path is at most 107 bytes long, too."""
    place = Path(f"/tmp/ami-factory-pg-{os.getpid()}")
    place.mkdir(mode=0o755)
    try:
        yield place / "1", place / "2"
    finally:
        shutil.rmtree(place)


def test_saved_and_restored_on_a_new_instance(endpoint: str, roots: tuple[Path, Path]) -> None:
    one, two = roots
    with instance(one, endpoint) as first:
        assert first.run("postgresql-s3", "save", **ENVIRONMENT) == (
            1,
            "postgresql-s3: not saved: i-1 has not restored yet\n",
        )
        assert first.run("postgresql-s3", "restore", **ENVIRONMENT) == (
            0,
            "postgresql-s3: there is no s3://kept/db/latest.sql.gz yet: this is the first instance\n",
        )
        sql(one, "create role joe login password 'x'")
        sql(one, "create table t (word text)")
        sql(one, "insert into t values ('kept')")
        assert first.run("postgresql-s3", "save", **ENVIRONMENT) == (
            0,
            "postgresql-s3: saved in s3://kept/db/latest.sql.gz\n",
        )
    with instance(two, endpoint) as second:
        assert second.run("postgresql-s3", "restore", **ENVIRONMENT) == (
            0,
            "postgresql-s3: restored from s3://kept/db/latest.sql.gz\n",
        )
        assert sql(two, "select word from t") == "kept"
        assert sql(two, "select rolcanlogin from pg_roles where rolname = 'joe'") == "t"
        assert second.run("postgresql-s3", "restore", **ENVIRONMENT)[1].endswith("i-2 has restored before\n")
        assert sql(two, "show listen_addresses") == "localhost"
