import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection
from tests.support.database import migrated_database

from vms.common.errors import ErrorKind, VmsError
from vms.db import migrate
from vms.db.engine import make_engine, sqlite_url
from vms.db.migrate import HEAD, ensure_migrated, migrate_to
from vms.db.models import Base


def tables(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {name for (name,) in names} - {"sqlite_sequence"}


async def test_migrations_go_up_down_to_nothing_and_up_again(tmp_path: Path) -> None:
    file = tmp_path / "vms.sqlite"
    await ensure_migrated(sqlite_url(file))
    assert tables(file) == {"alembic_version", *Base.metadata.tables}
    await migrate_to(sqlite_url(file), "base")
    assert tables(file) == {"alembic_version"}
    await ensure_migrated(sqlite_url(file))
    assert tables(file) == {"alembic_version", *Base.metadata.tables}


async def test_the_migrations_make_exactly_what_the_models_describe(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    def differences(connection: Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))

    url = sqlite_url(tmp_path / "vms.sqlite")
    await ensure_migrated(url)
    engine = make_engine(url)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


def test_head_is_the_newest_revision_in_the_package() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


async def test_a_second_start_does_not_import_alembic(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "vms.sqlite")
    await ensure_migrated(url)
    program = (
        "import asyncio, sys; from vms.db.migrate import ensure_migrated; "
        f"asyncio.run(ensure_migrated({url!r})); print('alembic' in sys.modules)"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


async def test_services_that_start_together_migrate_once(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "vms.sqlite")
    await asyncio.gather(*(ensure_migrated(url) for _ in range(4)))
    assert tables(tmp_path / "vms.sqlite") == {"alembic_version", *Base.metadata.tables}


async def test_the_database_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "db" / "vms.sqlite"
    async with migrated_database(file.parent) as sessions, sessions() as session:
        await session.connection()
        modes = {path.name: path.stat().st_mode & 0o777 for path in file.parent.iterdir()}
    assert modes["vms.sqlite"] == 0o600
    assert set(modes.values()) == {0o600}
    file.chmod(0o644)
    await ensure_migrated(sqlite_url(file))
    assert file.stat().st_mode & 0o777 == 0o600


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "vms.sqlite"
    await ensure_migrated(sqlite_url(file))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(VmsError, match="newer version") as caught:
        await ensure_migrated(sqlite_url(file))
    assert caught.value.kind is ErrorKind.CONFLICT
    assert tables(file) == {"alembic_version", *Base.metadata.tables}


async def test_a_file_that_is_no_database_is_reported_with_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "vms.sqlite"
    file.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(VmsError, match="vms storage rebuild") as caught:
        await ensure_migrated(sqlite_url(file))
    assert caught.value.kind is ErrorKind.CORRUPT


async def test_a_path_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file, where a directory is needed")
    with pytest.raises(VmsError, match="cannot write") as caught:
        await ensure_migrated(sqlite_url(tmp_path / "blocked" / "vms.sqlite"))
    assert caught.value.kind is ErrorKind.STORAGE


async def test_an_unknown_revision_is_invalid(tmp_path: Path) -> None:
    with pytest.raises(VmsError) as caught:
        await migrate_to(sqlite_url(tmp_path / "vms.sqlite"), "nonsense")
    assert caught.value.kind is ErrorKind.INVALID
