"""Engines and sessions. The URL decides: SQLite on one machine, PostgreSQL for many."""

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from vms.common.errors import ErrorKind, VmsError

SessionFactory = async_sessionmaker[AsyncSession]

_BUSY_TIMEOUT_S: Final = 5
_WRITE: Final = "vms_write"


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite+aiosqlite:///{path.absolute()}"


def parse_database_url(text: str) -> URL:
    """Check a database URL. Raises VmsError(INVALID) without repeating it, since it may hold a password."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise VmsError(
            ErrorKind.INVALID,
            "database_url is not a URL: use sqlite+aiosqlite:///path/to/file or postgresql+asyncpg://…",
        ) from None
    if url.get_backend_name() == "sqlite":
        return url.set(drivername="sqlite+aiosqlite")
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+asyncpg")
    raise VmsError(
        ErrorKind.INVALID, f"database_url: {url.get_backend_name()} is not supported: use sqlite or postgresql"
    )


def sqlite_file(url: URL) -> Path | None:
    """The file behind a SQLite URL, or None for another database or one in memory."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database)


def make_engine(database_url: str) -> AsyncEngine:
    """An engine for a URL; connects on first use. Raises VmsError(INVALID) when the URL is wrong."""
    url = parse_database_url(database_url)
    if url.get_backend_name() != "sqlite":
        try:
            return create_async_engine(url, pool_pre_ping=True)
        except ModuleNotFoundError:
            raise VmsError(
                ErrorKind.UNSUPPORTED, "PostgreSQL needs a driver: pip install 'vms-enterprise[postgres]'"
            ) from None
    engine = create_async_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S}, pool_size=4, max_overflow=4)
    event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def make_sessions(engine: AsyncEngine) -> SessionFactory:
    """Sessions whose objects stay readable after commit."""
    return async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def reading(sessions: SessionFactory) -> AsyncGenerator[AsyncSession]:
    """A session for queries. Database failures leave as VmsError(UNAVAILABLE)."""
    try:
        async with sessions() as session:
            yield session
    except DBAPIError as error:
        raise _unavailable(error) from error


@asynccontextmanager
async def writing(sessions: SessionFactory) -> AsyncGenerator[AsyncSession]:
    """A session that commits on leaving, or rolls back.

    The write lock is taken at once: a transaction that reads first and writes later would fail without waiting when
    another process wrote in between (SQLITE_BUSY_SNAPSHOT), whatever the busy timeout.
    Raises VmsError(CONFLICT) when a constraint is violated, VmsError(UNAVAILABLE) when the database does not answer.
    """
    try:
        async with sessions() as session:
            await session.connection(execution_options={_WRITE: True})
            yield session
            await session.commit()
    except IntegrityError as error:
        raise VmsError(ErrorKind.CONFLICT, "the record exists already, or refers to one that does not") from error
    except DBAPIError as error:
        raise _unavailable(error) from error


def _unavailable(error: DBAPIError) -> VmsError:
    reason = str(error.orig) if isinstance(error.orig, sqlite3.Error) else type(error.orig).__name__
    return VmsError(ErrorKind.UNAVAILABLE, f"the catalogue database does not answer ({reason}): retry later")


def _set_up_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's adapted connection
    # The driver's own transaction handling is off: it opens none for SELECT and a deferred one for the rest.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {_BUSY_TIMEOUT_S * 1000}",
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
