"""Brings a database to the schema of this version, or back to an older one."""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from vms.common.errors import ErrorKind, VmsError
from vms.db.engine import make_engine, parse_database_url, sqlite_file

HEAD: Final = "0001"
"""The newest revision; a constant, so that a start on an up-to-date database need not import Alembic."""

_FILE_MODE: Final = 0o600
_POSTGRES_LOCK: Final = 0x564D53  # "VMS": key of the advisory lock


async def ensure_migrated(database_url: str) -> None:
    """Create or upgrade the database; returns within milliseconds when there is nothing to do.

    Safe when several services start at once: one migrates, the others wait for it.
    Raises VmsError: CONFLICT when a newer version made the database, STORAGE when its file cannot be written.
    """
    url = parse_database_url(database_url)
    file = sqlite_file(url)
    if file is None:
        await _upgrade(database_url, url, HEAD)
        return
    await asyncio.to_thread(_create_private, file)
    if await asyncio.to_thread(_sqlite_revision, file) == HEAD:
        return
    with _migration_lock(file) as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if await asyncio.to_thread(_sqlite_revision, file) != HEAD:
            await _upgrade(database_url, url, HEAD)


async def migrate_to(database_url: str, revision: str) -> None:
    """Go to a revision, forwards or backwards; ``base`` removes every table. Stop the services first."""
    await _upgrade(database_url, parse_database_url(database_url), revision)


async def _upgrade(database_url: str, url: URL, revision: str) -> None:
    engine = make_engine(database_url)
    try:
        async with engine.begin() as connection:
            if url.get_backend_name() == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK})
            await connection.run_sync(_run_alembic, revision)
    except DBAPIError as error:
        raise VmsError(ErrorKind.UNAVAILABLE, f"the catalogue database cannot be migrated: {error.orig}") from error
    finally:
        await engine.dispose()


def _run_alembic(connection: Connection, revision: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known:
        raise VmsError(
            ErrorKind.CONFLICT,
            f"the catalogue database is of a newer version (revision {current}): start that version, "
            "or restore the database from before the upgrade",
        )
    going_back = current is not None and (revision == "base" or revision < current)
    try:
        (command.downgrade if going_back else command.upgrade)(config, revision)
    except CommandError as error:
        raise VmsError(ErrorKind.INVALID, f"no such database revision: {revision}", revision=revision) from error


def _create_private(file: Path) -> None:
    """Create the file, and its directory, readable by this user alone: it holds the passwords of cameras."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE))
        if file.stat().st_mode & 0o077:
            file.chmod(_FILE_MODE)
    except OSError as error:
        raise VmsError(
            ErrorKind.STORAGE, f"cannot write the catalogue database {file}: {error.strerror}", path=str(file)
        ) from None


def _sqlite_revision(file: Path) -> str | None:
    try:
        with closing(sqlite3.connect(file, timeout=5)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise VmsError(ErrorKind.UNAVAILABLE, f"cannot open the catalogue database {file}: {error}") from None
    except sqlite3.DatabaseError:
        raise VmsError(
            ErrorKind.CORRUPT,
            f"{file} is not a database: move it away; `vms storage rebuild` restores the catalogue from the recordings",
        ) from None
    return str(row[0]) if row else None


@contextmanager
def _migration_lock(file: Path) -> Generator[int]:
    """A lock file next to the database; closing it releases the lock, also when the process dies."""
    lock = os.open(file.with_name(file.name + ".migrate-lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
    try:
        yield lock
    finally:
        os.close(lock)
