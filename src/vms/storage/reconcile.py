"""Makes the catalogue equal to the disk: cheaply at every start, completely for ``vms storage rebuild``."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path, PurePosixPath

from vms.common.clock import Clock, SystemClock
from vms.common.errors import ErrorKind, VmsError
from vms.common.timestamps import datetime_from_us
from vms.common.types import CameraId
from vms.common.volumes import VolumeSettings
from vms.db.engine import make_engine, make_sessions
from vms.db.migrate import ensure_migrated
from vms.proto.messages import Gap, GapCause
from vms.storage.checksums import ChecksumWriter, has_checksum
from vms.storage.disk import camera_directories, days, media_files, read_facts
from vms.storage.repository import CatalogueRepository
from vms.storage.segments import SegmentFacts, segment_id
from vms.storage.threads import FileThreads
from vms.storage.volumes import Volumes
from vms.telemetry.logging import get_logger

_WALK = 500

_log = get_logger("storage.reconcile")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileReport:
    """What a comparison of catalogue and disk found."""

    files: int = 0  # looked at
    added: int = 0  # rows made or brought up to date
    unreadable: int = 0  # files that are no recordings
    removed: int = 0  # rows whose file is gone


class Reconciler:
    """Compares the catalogue with mounted volumes; what is not mounted is left alone."""

    def __init__(
        self,
        repository: CatalogueRepository,
        volumes: Volumes,
        threads: FileThreads,
        *,
        clock: Clock,
        checksums: ChecksumWriter | None = None,
    ) -> None:
        self._repository = repository
        self._volumes = volumes
        self._threads = threads
        self._clock = clock
        self._checksums = checksums

    async def recent(self) -> ReconcileReport:
        """Files of today and yesterday that the catalogue does not know or holds for open; rows without a file."""
        now = datetime_from_us(self._clock.now_us()).date()
        wanted = {(now - timedelta(days=1)).isoformat(), now.isoformat()}
        report = await self._scan(only_days=wanted)
        return replace(report, removed=await self._forget_missing())

    async def everything(self) -> ReconcileReport:
        """Every file of every day, known or not; rows without a file."""
        report = await self._scan(only_days=None)
        return replace(report, removed=await self._forget_missing())

    async def _scan(self, *, only_days: set[str] | None) -> ReconcileReport:
        report = ReconcileReport()
        for volume in self._volumes.names:
            if not await self._threads.run(self._volumes.is_mounted, volume):
                _log.info("no recordings on this volume, or it is not mounted", volume=volume)
                continue
            root = self._volumes.root(volume)
            for camera_id in await self._threads.run(camera_directories, root):
                for date in await self._threads.run(days, root, camera_id):
                    if only_days is None or date in only_days:
                        report = await self._scan_day(report, volume, root, camera_id, date, full=only_days is None)
        return report

    async def _scan_day(
        self, report: ReconcileReport, volume: str, root: Path, camera_id: CameraId, date: str, *, full: bool
    ) -> ReconcileReport:
        files = await self._threads.run(lambda: list(media_files(root, camera_id, date)))
        ids = [segment_id(volume, str(relative)) for relative in files]
        closed = set() if full else await self._repository.closed_among(ids)
        found: list[SegmentFacts] = []
        unreadable = 0
        for relative, row_id in zip(files, ids, strict=True):
            if row_id not in closed:
                facts = await self._threads.run(self._read, root, volume, relative)
                unreadable += facts is None
                found += [facts] if facts is not None else []
            is_closed = row_id in closed or bool(found and found[-1].id == row_id and found[-1].closed)
            await self._add_checksum(root / relative, is_closed=is_closed)
        if found:
            await self._repository.put(found, now_us=self._clock.now_us())
        return replace(
            report,
            files=report.files + len(files),
            added=report.added + len(found),
            unreadable=report.unreadable + unreadable,
        )

    async def _add_checksum(self, media_path: Path, *, is_closed: bool) -> None:
        if self._checksums is not None and is_closed and not await self._threads.run(has_checksum, media_path):
            self._checksums.add(media_path)

    def _read(self, root: Path, volume: str, relative: PurePosixPath) -> SegmentFacts | None:
        try:
            return read_facts(root, volume, relative, now_us=self._clock.now_us())
        except VmsError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                _log.warning("not catalogued", path=str(root / relative), reason=error.message)
            return None

    async def _forget_missing(self) -> int:
        removed = 0
        after = ""
        while rows := await self._repository.places(after=after, limit=_WALK):
            after = rows[-1].id
            for facts in await self._threads.run(self._missing, rows):
                gap = Gap(
                    facts.camera_id,
                    facts.start_us,
                    facts.end_us,
                    GapCause.UNKNOWN,
                    "the file is not on the disk any more",
                )
                await self._repository.remove(facts, gap)
                _log.warning("recording is gone from the disk", camera_id=facts.camera_id, path=facts.path)
                removed += 1
        return removed

    def _missing(self, rows: Sequence[SegmentFacts]) -> list[SegmentFacts]:
        by_volume: dict[str, list[SegmentFacts]] = defaultdict(list)
        for facts in rows:
            by_volume[facts.volume].append(facts)
        return [
            facts
            for volume, group in by_volume.items()
            if self._volumes.is_mounted(volume)
            for facts in group
            if not self._volumes.media_path(facts).exists()
        ]


async def rebuild_catalogue(
    volumes: Sequence[VolumeSettings], database_url: str, *, clock: Clock | None = None, file_threads: int = 4
) -> ReconcileReport:
    """Make the catalogue from the files alone, for ``vms storage rebuild``; ids, and so URLs, stay the same.

    Causes of gaps are not in the files: a new database has none for the past. Raises VmsError of the database, and
    NOT_FOUND when a volume is not there.
    """
    places = Volumes(volumes)
    missing = [name for name in places.names if not await asyncio.to_thread(places.root(name).is_dir)]
    if missing:
        raise VmsError(ErrorKind.NOT_FOUND, f"volume {missing[0]} is not at {places.root(missing[0])}: mount it first")
    await ensure_migrated(database_url)
    engine = make_engine(database_url)
    try:
        with FileThreads(file_threads) as threads:
            repository = CatalogueRepository(make_sessions(engine))
            return await Reconciler(repository, places, threads, clock=clock or SystemClock()).everything()
    finally:
        await engine.dispose()
