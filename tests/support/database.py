"""A migrated SQLite database in a temporary directory."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from vms.db.engine import SessionFactory, make_engine, make_sessions, sqlite_url
from vms.db.migrate import ensure_migrated


@asynccontextmanager
async def migrated_database(directory: Path) -> AsyncGenerator[SessionFactory]:
    """Sessions on a fresh database under ``directory``."""
    url = sqlite_url(directory / "vms.sqlite")
    await ensure_migrated(url)
    engine = make_engine(url)
    try:
        yield make_sessions(engine)
    finally:
        await engine.dispose()
