"""Carries out retention: daily by age, every minute for the free-space floor."""

import asyncio
from collections import Counter
from typing import Final

from vms.common.clock import Clock
from vms.common.errors import VmsError
from vms.common.timestamps import datetime_from_us
from vms.proto.messages import Gap, GapCause
from vms.storage.erase import delete_recording
from vms.storage.policies import CameraPolicies
from vms.storage.repository import CatalogueRepository
from vms.storage.retention import Deletion, Reason, RetentionPolicies, VolumeState, plan_retention
from vms.storage.segments import SegmentFacts
from vms.storage.threads import FileThreads
from vms.storage.volumes import Volumes
from vms.telemetry.logging import get_logger

_BATCH: Final = 200
_DETAIL: Final = {
    Reason.AGE: "older than the camera's retention",
    Reason.FREE_SPACE: "the volume ran out of free space",
}

_log = get_logger("storage.keeper")


class Keeper:
    """Deletes what the rules say. One deletion at a time: file, then row."""

    def __init__(
        self,
        repository: CatalogueRepository,
        volumes: Volumes,
        threads: FileThreads,
        policies: CameraPolicies,
        *,
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._volumes = volumes
        self._threads = threads
        self._policies = policies
        self._clock = clock
        self.deleted_total: Counter[str] = Counter({reason.value: 0 for reason in Reason})
        self.failed_total = 0

    async def run(self, *, first_s: float, age_interval_s: float, pressure_interval_s: float) -> None:
        """Keep the rules until cancelled."""
        next_age = self._clock.monotonic() + first_s
        while True:
            try:
                if self._clock.monotonic() >= next_age and self._policies.loaded:
                    await self.delete_old()
                    next_age = self._clock.monotonic() + age_interval_s
                await self.free_space()
            except VmsError as error:
                self.failed_total += 1
                _log.warning("retention was interrupted", reason=error.message)
            await asyncio.sleep(pressure_interval_s)

    async def delete_old(self) -> int:
        """Delete what is older than its camera's retention; returns how many recordings. Raises VmsError."""
        policies = self._policies.retention()
        now_us = self._clock.now_us()
        count = 0
        for camera_id in await self._repository.cameras():
            cutoff_us = policies.cutoff_us(camera_id, now_us)
            while cutoff_us is not None:
                rows = await self._repository.closed_before(camera_id, cutoff_us, limit=_BATCH)
                states = {volume: VolumeState(0, 0) for volume in await self._mounted()}
                done = await self._execute(plan_retention(rows, policies, states, now_us))
                count += done
                if len(rows) < _BATCH or not done:
                    break
        return count

    async def free_space(self) -> int:
        """Delete the oldest recordings of volumes below their floor; returns how many. Raises VmsError."""
        no_age = RetentionPolicies(None, 1)
        count = 0
        for volume in self._volumes.names:
            while (state := await self._threads.run(self._volumes.state, volume)) and state.missing_bytes:
                rows = await self._repository.oldest_closed(volume, limit=_BATCH)
                done = await self._execute(plan_retention(rows, no_age, {volume: state}, self._clock.now_us()))
                count += done
                if not done:
                    _log.error("volume is below its floor and nothing is left to delete", volume=volume)
                    break
        return count

    async def _mounted(self) -> list[str]:
        return [name for name in self._volumes.names if await self._threads.run(self._volumes.is_mounted, name)]

    async def _execute(self, plan: list[Deletion]) -> int:
        done = 0
        for deletion in plan:
            segment = deletion.segment
            try:
                await self._delete(segment, deletion.reason)
            except VmsError as error:
                # The next sweep tries again; the other recordings must not wait for this one.
                self.failed_total += 1
                _log.warning("recording not deleted", camera_id=segment.camera_id, reason=error.message)
                continue
            self.deleted_total[deletion.reason.value] += 1
            done += 1
        if done:
            _log.info("recordings deleted", count=done, reason=plan[0].reason.value)
        return done

    async def _delete(self, segment: SegmentFacts, reason: Reason) -> None:
        today = datetime_from_us(self._clock.now_us()).date().isoformat()
        await self._threads.run(delete_recording, self._volumes.media_path(segment), today=today)
        gap = Gap(segment.camera_id, segment.start_us, segment.end_us, GapCause.RETENTION, _DETAIL[reason])
        await self._repository.remove(segment, gap)
