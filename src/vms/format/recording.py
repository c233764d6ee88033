"""The recorder's writer: fragments of one stream into hourly files, each frame into exactly one of them."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final, TypedDict

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container, VideoParameters
from vms.common.types import CameraId
from vms.format import layout
from vms.format.files import is_being_written, opened, permanent_name, storage_error
from vms.format.layout import RecordingPath
from vms.format.model import Fragment, FragmentWritten, RecordingEvent, SegmentClosed, SegmentOpened
from vms.format.repair import repair
from vms.format.segment import Segment, create_segment, reopen_segment

_US: Final = 1_000_000


class _EventFacts(TypedDict):
    camera_id: CameraId
    path: PurePosixPath
    container: Container
    params: VideoParameters
    start_us: int
    end_us: int
    size_bytes: int
    frames: int
    fragments: int


class RecordingWriter:
    """Writes one stream below ``root``. Used by one thread at a time.

    Every method that touches the disk raises VmsError(STORAGE) when it fails; the fragment is then not recorded and the
    files end after their last whole fragment. The same fragment may be written again, and goes on there as if nothing
    had been; in its place any that begins with a keyframe may. ``dropped_frames`` counts frames that could not be
    decoded by anyone, because what they refer to is not on disk.
    """

    def __init__(
        self,
        root: Path,
        camera_id: CameraId,
        *,
        container: Container,
        rotation_s: int = 3600,
        sync_interval_s: float = 10.0,
    ) -> None:
        self.root = root
        self.camera_id = camera_id
        self.container = container
        self.rotation_s = rotation_s
        self.sync_interval_s = sync_interval_s
        self.dropped_frames = 0
        self._segment: Segment | None = None
        self._let_go: Segment | None = None  # abandoned after an error; the file may still be gone on with
        self._unsynced: Fragment | None = None  # written, but the sync behind it failed
        self._has_looked_back = False  # for a file that a fragment without a keyframe may follow on
        self._has_looked = False  # for what an earlier process, or we before an error, left unfinished
        self._params: VideoParameters | None = None
        self._relative = layout.camera_directory(camera_id)
        self._events: list[RecordingEvent] = []

    def write(self, params: VideoParameters, fragment: Fragment, now_monotonic: float) -> list[RecordingEvent]:
        """Append a fragment, in a new file where rotation, parameters or the clock ask for one.

        Returns what happened, in order. Raises VmsError: STORAGE as said above, INVALID for times that fit nowhere.
        """
        if fragment.units and fragment is not self._unsynced:
            with self._reported():
                self._write(params, fragment, now_monotonic)
        self._unsynced = None
        return self._taken_events()

    def sync(self, now_monotonic: float) -> None:
        """Make what was written durable if the sync interval has passed; for streams that fell silent."""
        segment = self._segment
        if segment is not None and segment.is_dirty and now_monotonic - segment.last_sync >= self.sync_interval_s:
            with self._reported():
                segment.sync(now_monotonic)

    def close(self) -> list[RecordingEvent]:
        """Complete the open file; a later ``write`` goes on in it."""
        self._has_looked = False
        with self._reported():
            self._close_segment()
        return self._taken_events()

    def _write(self, params: VideoParameters, fragment: Fragment, now_monotonic: float) -> None:
        segment = self._segment
        has_same_params = params is self._params or params == self._params
        if fragment.units[0].flags & 1:
            if segment is not None and not (has_same_params and self._has_place(segment, fragment.wall_us)):
                self._close_segment()
                segment = None
            if segment is None:
                self._open(params, fragment, now_monotonic)
                return
        else:
            segment = self._continued(params, fragment)
            if segment is None:
                self.dropped_frames += len(fragment.units)
                return
        record = segment.append(fragment)
        self._events.append(FragmentWritten(**self._facts(segment), record=record))
        if now_monotonic - segment.last_sync >= self.sync_interval_s:
            self._unsynced = fragment  # if this fails, it must not be written twice
            segment.sync(now_monotonic)
            self._unsynced = None

    def _continued(self, params: VideoParameters, fragment: Fragment) -> Segment | None:
        """The file that holds all that a fragment without a keyframe refers to, if there is one."""
        if self._params is None:
            return self._inherited(params, fragment)
        if params != self._params:
            return None
        if self._segment is None:
            return self._reopened(fragment)
        return self._segment if _follows(fragment, self._segment) else None

    def _inherited(self, params: VideoParameters, fragment: Fragment) -> Segment | None:
        """The file that an earlier process wrote, if the fragment follows on what is in it.

        That happens where frames wait outside, on the bus, while this process starts anew.
        """
        if self._has_looked_back:
            return None
        self._has_looked_back = True
        places = self._unfinished(*layout.date_and_hour(fragment.wall_us))
        segment = self._repaired(places[-1]) if places else None
        if segment is None:
            return None
        with _abandoned_on_error(segment):
            goes_on = segment.container is self.container and segment.params == params and segment.take_up(fragment)
            if goes_on:
                segment.unseal()
        if not goes_on:
            segment.abandon()
            return None
        self._adopt(segment, segment.media_path, params)
        self._has_looked = True
        self._events.append(SegmentOpened(**self._facts(segment)))
        return segment

    def _reopened(self, fragment: Fragment) -> Segment | None:
        """The file that was let go after an error, if the fragment follows on what is in it still."""
        before = self._let_go
        if before is None or not _follows(fragment, before):
            return None
        segment = self._repaired(layout.parse_media_path(self._relative))
        if segment is None:
            return None
        with _abandoned_on_error(segment):
            goes_on = segment.go_on_from(before)
        if not goes_on:
            segment.abandon()
            return None
        self._adopt(segment, segment.media_path, segment.params)
        self._has_looked = True
        return segment

    def _has_place(self, segment: Segment, wall_us: int) -> bool:
        """Whether a fragment that could begin a file belongs into this one: same period, index stays sorted."""
        return segment.last is not None and segment.last.wall_start_us <= wall_us < self._period_end_us(segment)

    def _period_end_us(self, segment: Segment) -> int:
        period_us = self.rotation_s * _US
        return (segment.start_us // period_us + 1) * period_us

    def _open(self, params: VideoParameters, fragment: Fragment, now_monotonic: float) -> None:
        date, hour = layout.date_and_hour(fragment.wall_us)
        segment = None if self._has_looked else self._resume(params, fragment, date, hour)
        self._has_looked = True
        if segment is not None:
            self._adopt(segment, segment.media_path, params)
            self._events.append(SegmentOpened(**self._facts(segment)))
            record = segment.append(fragment)
        else:
            directory = layout.camera_directory(self.camera_id) / date
            number = layout.next_number(_names(self.root / directory), hour)
            place = RecordingPath(self.camera_id, date, hour, number, self.container)
            self._relative = place.media
            segment, record = create_segment(self.root, place, params, fragment, rotation_s=self.rotation_s)
            self._adopt(segment, self.root / place.media, params)
            self._events.append(SegmentOpened(**self._facts(segment)))
        segment.last_sync = now_monotonic
        self._events.append(FragmentWritten(**self._facts(segment), record=record))

    def _adopt(self, segment: Segment, media_path: Path, params: VideoParameters) -> None:
        self._segment = segment
        self._let_go = None
        self._params = params
        self._relative = PurePosixPath(media_path.relative_to(self.root))

    def _discard_unborn(self, date: str) -> None:
        """Remove what a crash left of files that never got their name, and the index made for them."""
        directory = self.root / layout.camera_directory(self.camera_id) / date
        for name in _names(directory):
            permanent = permanent_name(name)
            if permanent is None or _is_open_elsewhere(directory / name):
                continue
            if layout.is_media_name(permanent) and not (directory / permanent).exists():
                layout.index_path(directory / permanent).unlink(missing_ok=True)
            (directory / name).unlink(missing_ok=True)

    def _resume(self, params: VideoParameters, fragment: Fragment, date: str, hour: int) -> Segment | None:
        """The file to go on with, if there is one. Whatever else was left unfinished is repaired and completed."""
        resumed, before = None, self._let_go
        for place in self._unfinished(date, hour):
            segment = self._repaired(place)
            if segment is None:
                continue
            is_this_hour = (place.date, place.hour, place.container) == (date, hour, self.container)
            if is_this_hour and segment.params == params and self._has_place(segment, fragment.wall_us):
                with _abandoned_on_error(segment):
                    segment.unseal()
                    if before is not None and _follows(fragment, before):
                        segment.go_on_from(before)
                resumed = segment
            else:
                self._adopt(segment, segment.media_path, segment.params)
                self._close_segment()
        return resumed

    def _unfinished(self, date: str, hour: int) -> list[RecordingPath]:
        """The files that may lack their end: the newest of all, and the newest of the hour (clocks step back)."""
        camera = self.root / layout.camera_directory(self.camera_id)
        for day in sorted(filter(layout.is_date, _names(camera)), reverse=True):
            self._discard_unborn(day)
            places = self._places(day)
            if places:
                of_hour = [place for place in self._places(date) if place.hour == hour]
                return sorted({places[-1], *of_hour[-1:]})
        return []

    def _places(self, date: str) -> list[RecordingPath]:
        directory = layout.camera_directory(self.camera_id) / date
        names = filter(layout.is_media_name, _names(self.root / directory))
        return sorted(layout.parse_media_path(directory / name) for name in names)

    def _repaired(self, place: RecordingPath) -> Segment | None:
        """A file after repair; None when it is no recording, holds no fragment, or another process writes it."""
        path = self.root / place.media
        try:
            repair(path)
            return reopen_segment(path, place.container)
        except VmsError as error:
            if error.kind in {ErrorKind.CORRUPT, ErrorKind.CONFLICT}:
                return None
            raise

    def _close_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            has_looked, self._has_looked = self._has_looked, False  # if this fails, it is unfinished
            segment.close()
            self._has_looked = has_looked
            self._events.append(SegmentClosed(**self._facts(segment)))

    def _facts(self, segment: Segment) -> _EventFacts:
        last = segment.last
        return {
            "camera_id": self.camera_id,
            "path": self._relative,
            "container": segment.container,
            "params": self._params or segment.params,
            "start_us": segment.start_us,
            "end_us": last.wall_end_us if last else segment.start_us,
            "size_bytes": segment.end,
            "frames": segment.frames,
            "fragments": segment.fragments,
        }

    def _taken_events(self) -> list[RecordingEvent]:
        events, self._events = self._events, []
        return events

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            path = self.root / self._relative
            # A full disk fails again and again: then the open file is kept, for reopening and repairing it costs more.
            if self._segment is not None and not self._segment.is_cut_back:
                self._segment.abandon()
                self._let_go, self._segment = self._segment, None
                self._has_looked = False
            raise storage_error(error, path) from None


@contextlib.contextmanager
def _abandoned_on_error(segment: Segment) -> Iterator[None]:
    """A disk that fails again and again must not cost a descriptor each time."""
    try:
        yield
    except OSError:
        segment.abandon()
        raise


def _follows(fragment: Fragment, segment: Segment) -> bool:
    """Whether no fragment is missing between those of a segment and this one."""
    return segment.refused is None or segment.refused is fragment


def _is_open_elsewhere(path: Path) -> bool:
    with opened(path, os.O_RDWR) as fd:
        return is_being_written(fd)


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208 - names are all that is wanted
    except FileNotFoundError:
        return []
