"""Which recordings go, and why. Pure: rows and numbers in, deletions out (design/storage.md).

Two rules: age, per camera; and the free-space floor of a volume, oldest first across its cameras. A file that is still
written to is never chosen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vms.storage.segments import SegmentFacts

_DAY_US: Final = 86_400_000_000


class Reason(StrEnum):
    """Why a recording is deleted."""

    AGE = "age"
    FREE_SPACE = "free_space"


@dataclass(frozen=True, slots=True)
class VolumeState:
    """Free space as an unprivileged process may use it (``f_bavail``), and the floor it must not fall below."""

    free_bytes: int
    min_free_bytes: int

    @property
    def missing_bytes(self) -> int:
        """How much has to be freed."""
        return max(0, self.min_free_bytes - self.free_bytes)


@dataclass(frozen=True)
class RetentionPolicies:
    """Days per camera. ``days`` is None until the configuration was loaded once: then nothing is too old."""

    days: Mapping[str, float] | None
    default_days: float

    def cutoff_us(self, camera_id: str, now_us: int) -> int | None:
        """What ended before this is too old; None: nothing is."""
        if self.days is None:
            return None
        return now_us - round(self.days.get(camera_id, self.default_days) * _DAY_US)


@dataclass(frozen=True, slots=True)
class Deletion:
    """One recording to delete."""

    segment: SegmentFacts
    reason: Reason


def plan_retention(
    segments: Sequence[SegmentFacts],
    policies: RetentionPolicies,
    volumes: Mapping[str, VolumeState],
    now_us: int,
) -> list[Deletion]:
    """The deletions that the rules ask for, in the order to execute them: oldest first.

    ``volumes`` holds those that are to be considered; recordings on others, which may be unmounted, are left alone.
    """
    chosen: list[Deletion] = []
    freed: dict[str, int] = dict.fromkeys(volumes, 0)
    for segment in sorted(segments, key=lambda segment: (segment.end_us, segment.id)):
        volume = volumes.get(segment.volume)
        if volume is None or not segment.closed:
            continue
        cutoff_us = policies.cutoff_us(segment.camera_id, now_us)
        if cutoff_us is not None and segment.end_us < cutoff_us:
            reason = Reason.AGE
        elif freed[segment.volume] < volume.missing_bytes:
            reason = Reason.FREE_SPACE
        else:
            continue
        chosen.append(Deletion(segment, reason))
        freed[segment.volume] += segment.size_bytes
    return chosen
