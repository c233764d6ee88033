"""Where recordings lie: pure functions between paths and (camera, date, hour, number, container). Always UTC."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container
from vms.common.timestamps import datetime_from_us
from vms.common.types import CameraId, parse_camera_id

CAMERAS_DIRECTORY: Final = "cameras"
INDEX_SUFFIX: Final = ".vms-idx"
TORN_SUFFIX: Final = ".torn"

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MEDIA: Final = re.compile(r"video_([01]\d|2[0-3])(?:_([1-9]\d{0,5}))?\.(mp4|mkv)", re.ASCII)
_TAKEN: Final = re.compile(r"\.?(?:video|index)_(\d\d)(?:_(\d{1,6}))?\.", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class RecordingPath:
    """The place of one recording below the root of a volume. Sorts by time within a camera."""

    camera_id: CameraId
    date: str  # YYYY-MM-DD
    hour: int
    number: int  # 0 has no suffix; counts the files of the hour, whatever their container
    container: Container

    @property
    def directory(self) -> PurePosixPath:
        """The day's directory."""
        return camera_directory(self.camera_id) / self.date

    @property
    def media(self) -> PurePosixPath:
        """The media file, ``cameras/{camera_id}/{YYYY-MM-DD}/video_{HH}[_{n}].mp4|.mkv``."""
        return self.directory / f"video_{self._stem()}.{self.container}"

    @property
    def index(self) -> PurePosixPath:
        """Its index, ``index_{HH}[_{n}].vms-idx`` beside it."""
        return self.directory / f"index_{self._stem()}{INDEX_SUFFIX}"

    def _stem(self) -> str:
        return f"{self.hour:02}_{self.number}" if self.number else f"{self.hour:02}"


def camera_directory(camera_id: CameraId) -> PurePosixPath:
    """The directory of a camera, relative to the root."""
    return PurePosixPath(CAMERAS_DIRECTORY, camera_id)


def date_and_hour(wall_us: int) -> tuple[str, int]:
    """UTC date (YYYY-MM-DD) and hour of a wall time. Raises VmsError(INVALID) outside the years 1 to 9999."""
    try:
        moment = datetime_from_us(wall_us)
    except OverflowError:
        raise VmsError(ErrorKind.INVALID, f"{wall_us} is not a wall time in microseconds") from None
    return moment.date().isoformat(), moment.hour


def parse_media_path(relative: PurePosixPath) -> RecordingPath:
    """The recording that a path below the root names. Raises VmsError(INVALID) for any other path."""
    parts = relative.parts
    media = _MEDIA.fullmatch(parts[-1]) if len(parts) == 4 else None
    if media is None or parts[0] != CAMERAS_DIRECTORY or not _DATE.fullmatch(parts[2]):
        raise VmsError(
            ErrorKind.INVALID, f"'{str(relative)[:200]}' is not cameras/ID/YYYY-MM-DD/video_HH.mp4", path=str(relative)
        )
    hour, number, container = media.groups()
    return RecordingPath(parse_camera_id(parts[1]), parts[2], int(hour), int(number or 0), Container(container))


def is_date(name: str) -> bool:
    """Whether a directory name has the form of a day."""
    return _DATE.fullmatch(name) is not None


def is_media_name(name: str) -> bool:
    """Whether a file name is that of a recording's media file."""
    return _MEDIA.fullmatch(name) is not None


def index_path(media_path: Path) -> Path:
    """The index beside a media file; a file that was moved out of the layout has it under its own name."""
    stem = media_path.stem
    return media_path.with_name((f"index_{stem[6:]}" if stem.startswith("video_") else stem) + INDEX_SUFFIX)


def next_number(names: list[str], hour: int) -> int:
    """The first number of an hour that no file of the day's directory has used, in any container."""
    taken = [int(found[2] or 0) for name in names if (found := _TAKEN.match(name)) and int(found[1]) == hour]
    return max(taken, default=-1) + 1
