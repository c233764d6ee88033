"""Fuzz target for everything in vms.format that parses bytes: only VmsError may come out.

With atheris (``pip install atheris``), guided by coverage, until it is stopped or finds something::

    python fuzz/fuzz_format.py -max_len=65536 [CORPUS_DIRECTORY]

Without it the module imports all the same. An input that the fuzzer saved is tried again, by either, with::

    python fuzz/fuzz_format.py FILE

The first byte chooses the parser, the rest is its input. For the whole-file readers the input is put behind a sound
file, over it, or in place of its index, so that the fuzzer need not find the checksums first.
"""

import contextlib
import sys
import tempfile
from pathlib import Path, PurePosixPath
from typing import Final

from vms.common.errors import VmsError
from vms.common.stream import AccessUnit, Container, VideoCodec, VideoParameters
from vms.common.types import CameraId
from vms.format import boxes, ebml, layout
from vms.format.clip import build_clip
from vms.format.container import FORMATS
from vms.format.facts import decode_facts
from vms.format.index import IndexView
from vms.format.model import Fragment
from vms.format.reader import SegmentReader
from vms.format.recording import RecordingWriter
from vms.format.repair import repair

START_US: Final = 1_772_359_200_000_000
PARAMS: Final = VideoParameters(VideoCodec.H264, 320, 240, b"\x01\x42\xc0\x0d\xff\xe0\x00", "avc1.42c00d")


def test_one_input(data: bytes) -> None:
    """Feed one input to the parser that its first byte chooses."""
    choice, rest = (data[0] % 10, data[1:]) if data else (0, b"")
    with contextlib.suppress(VmsError):
        if choice < 6:
            _parse(choice, rest)
        else:
            _read_file(Container.MP4 if choice & 1 else Container.MKV, rest, is_index=choice >= 8)


def _parse(choice: int, data: bytes) -> None:
    if choice == 0:
        list(IndexView(data))
    elif choice == 1:
        decode_facts(data)
    elif choice == 2:
        list(boxes.walk(data))
    elif choice == 3:
        ebml.read_header(data, 0)
    elif choice == 4:
        layout.parse_media_path(PurePosixPath(data.decode("utf-8", "replace")))
    else:
        for form in FORMATS.values():
            for parse in (form.read_header, lambda read, form=form: form.read_fragment(read, 0, len(data))):
                with contextlib.suppress(VmsError):
                    parse(lambda offset, size: data[offset : offset + size])


def _read_file(container: Container, data: bytes, *, is_index: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = _sound_file(Path(directory), container)
        target = layout.index_path(path) if is_index else path
        sound = target.read_bytes()
        at = int.from_bytes(data[:2], "big") % (len(sound) + 1)
        target.write_bytes(sound[:at] + data[2:] + sound[at + len(data) - 2 :])
        for action in (_read_all, repair, _read_all):
            with contextlib.suppress(VmsError):
                action(path)


def _sound_file(root: Path, container: Container) -> Path:
    writer = RecordingWriter(root, CameraId("cam_fuzz"), container=container, rotation_s=1)
    units = [AccessUnit(i, i * 3600, i * 3600, START_US, int(i == 0), b"\0\0\0\2\x65\x88") for i in range(3)]
    events = writer.write(PARAMS, Fragment(units, 10_800, START_US), 0.0)
    writer.close()
    return root / events[0].path


def _read_all(path: Path) -> None:
    with SegmentReader.open(path) as reader:
        for record in reader.records:
            reader.samples(record)
            reader.fragment_as_fmp4(record, 1)
        build_clip([(reader, range(len(reader.records)))], start_us=0, end_us=1 << 60)


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
