import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.support.database import migrated_database

from vms.common.errors import ErrorKind, VmsError
from vms.db import engine as engine_module
from vms.db.engine import SessionFactory, make_engine, parse_database_url, reading, sqlite_file, writing
from vms.db.models import Gap


def gap(start_us: int = 1) -> Gap:
    return Gap(camera_id="cam_a", start_us=start_us, end_us=start_us + 1, cause="network", detail="")


async def test_connections_are_wal_with_foreign_keys_a_busy_timeout_and_normal_sync(tmp_path: Path) -> None:
    async with migrated_database(tmp_path) as sessions, reading(sessions) as session:
        values = [
            (await session.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
        ]
    assert values == ["wal", 1, 5000, 1]


async def write_and_fail(sessions: SessionFactory) -> None:
    async with writing(sessions) as session:
        session.add(gap(2))
        await session.flush()
        raise RuntimeError


async def test_writing_commits_at_its_end_and_rolls_back_on_an_error(tmp_path: Path) -> None:
    async with migrated_database(tmp_path) as sessions:
        async with writing(sessions) as session:
            session.add(gap(1))
        with pytest.raises(RuntimeError):
            await write_and_fail(sessions)
        async with reading(sessions) as session:
            assert (await session.execute(text("SELECT start_us FROM gaps"))).scalars().all() == [1]


async def test_a_violated_constraint_is_a_conflict(tmp_path: Path) -> None:
    async with migrated_database(tmp_path) as sessions:
        async with writing(sessions) as session:
            session.add(gap(1))
        with pytest.raises(VmsError) as caught:
            async with writing(sessions) as session:
                session.add(gap(1))
    assert caught.value.kind is ErrorKind.CONFLICT


async def test_a_locked_database_is_unavailable_and_says_to_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_BUSY_TIMEOUT_S", 0)
    async with migrated_database(tmp_path) as sessions:
        with closing(sqlite3.connect(tmp_path / "vms.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(VmsError) as caught:
                async with writing(sessions) as session:
                    session.add(gap(1))
        assert caught.value.kind is ErrorKind.UNAVAILABLE
        assert "locked" in caught.value.message
        async with writing(sessions) as session:
            session.add(gap(1))


async def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    async with migrated_database(tmp_path) as sessions, writing(sessions) as writer:
        writer.add(gap(1))
        await writer.flush()
        async with reading(sessions) as reader:
            assert (await reader.execute(text("SELECT count(*) FROM gaps"))).scalar_one() == 0


@pytest.mark.parametrize("url", ["nonsense", "mysql://root:hunter2@db/vms", ""])
def test_a_wrong_url_is_refused_without_repeating_its_password(url: str) -> None:
    with pytest.raises(VmsError) as caught:
        parse_database_url(url)
    assert caught.value.kind is ErrorKind.INVALID
    assert "hunter2" not in caught.value.message


def test_drivers_are_chosen_for_the_plain_names_of_the_databases() -> None:
    assert parse_database_url("sqlite:////data/vms.sqlite").drivername == "sqlite+aiosqlite"
    assert parse_database_url("postgresql://u:p@db/vms").drivername == "postgresql+asyncpg"


def test_only_sqlite_on_disk_has_a_file() -> None:
    assert sqlite_file(parse_database_url("sqlite:////data/vms.sqlite")) == Path("/data/vms.sqlite")
    assert sqlite_file(parse_database_url("sqlite://")) is None
    assert sqlite_file(parse_database_url("postgresql://db/vms")) is None


def test_postgresql_without_its_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_args: object, **_options: object) -> None:
        raise ModuleNotFoundError(name="asyncpg")

    monkeypatch.setattr(engine_module, "create_async_engine", missing)
    with pytest.raises(VmsError, match=r"vms-enterprise\[postgres\]"):
        make_engine("postgresql://db/vms")
