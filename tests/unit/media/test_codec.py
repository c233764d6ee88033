"""PyAV behind its owner: real files in, real pictures out."""

import wave
from fractions import Fraction
from pathlib import Path

import pytest

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoCodec
from vms.common.types import FrameRate
from vms.media.codec import CodedPicture, Decoder, Encoder, EncoderSettings, Mp4Encoder, demux_access_units, open_video
from vms.media.extradata import parameters_of
from vms.media.nal import lengths_to_annex_b, split_lengths
from vms.media.pattern import Scene
from vms.media.pattern_stamp import read_stamp

SETTINGS = EncoderSettings(320, 240, FrameRate(25), 200_000, gop=10)


def _encode(count: int) -> list[CodedPicture]:
    encoder, scene = Encoder(SETTINGS), Scene(320, 240)
    out: list[CodedPicture] = []
    for n in range(count):
        picture = scene.draw(n, 1_700_000_000_000_000 + n)
        out += encoder.encode(picture.y, picture.u, picture.v, n)
    return out + encoder.flush()


@pytest.fixture(scope="module")
def coded() -> list[CodedPicture]:
    return _encode(25)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    scene = Scene(320, 240)
    with Mp4Encoder(path, SETTINGS) as out:
        for n in range(25):
            picture = scene.draw(n, 1_700_000_000_000_000 + n)
            out.add(picture.y, picture.u, picture.v)
    return path


def test_every_picture_is_coded_at_once_with_a_keyframe_per_gop(coded: list[CodedPicture]) -> None:
    assert [picture.pts for picture in coded] == list(range(25))
    assert [picture.pts for picture in coded if picture.keyframe] == [0, 10, 20]


def test_keyframes_carry_their_parameter_sets(coded: list[CodedPicture]) -> None:
    for picture in coded:
        kinds = {nal[0] & 0x1F for nal in split_lengths(picture.payload)}
        assert ({7, 8, 5} <= kinds) == picture.keyframe


def test_what_was_encoded_is_decoded_in_order(coded: list[CodedPicture]) -> None:
    parameters = parameters_of(VideoCodec.H264, list(split_lengths(coded[0].payload)))
    assert (parameters.width, parameters.height, parameters.frame_rate) == (320, 240, 25.0)
    decoder = Decoder(parameters)
    pictures = [p for unit in coded for p in decoder.decode(unit.payload, unit.pts)] + decoder.flush()
    assert [p.pts for p in pictures] == list(range(25))
    stamps = [read_stamp(p.luma, p.width, p.height, p.stride) for p in pictures]
    assert [s.frame_number if s else None for s in stamps] == list(range(25))


def test_garbage_is_a_corrupt_access_unit_and_says_nothing_on_stderr(
    coded: list[CodedPicture], capfd: pytest.CaptureFixture[str]
) -> None:
    decoder = Decoder(parameters_of(VideoCodec.H264, list(split_lengths(coded[0].payload))))
    with pytest.raises(VmsError) as caught:
        decoder.decode(b"\x00\x00\x00\x09garbage", 0)
    assert caught.value.kind is ErrorKind.CORRUPT
    again = [p for unit in coded[10:] for p in decoder.decode(unit.payload, unit.pts)] + decoder.flush()
    assert [p.pts for p in again] == list(range(10, 25))
    assert capfd.readouterr() == ("", "")


def test_a_file_gives_back_its_access_units_and_parameters(clip: Path) -> None:
    video = open_video(clip)
    units = list(video.access_units())
    parameters, base = video.parameters(), video.time_base
    assert list(video.access_units()) == units  # a second pass starts at the beginning
    assert (parameters.codec, parameters.width, parameters.height) == (VideoCodec.H264, 320, 240)
    assert [unit.pts * base * 25 for unit in units] == list(range(25))
    assert {unit.duration * base for unit in units} == {Fraction(1, 25)}
    assert [n for n, unit in enumerate(units) if unit.keyframe] == [0, 10, 20]
    assert list(demux_access_units(clip)) == units
    decoder = Decoder(parameters)
    pictures = [p for unit in units for p in decoder.decode(unit.payload, unit.pts)] + decoder.flush()
    assert len(pictures) == 25


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(VmsError, match="there is no file") as caught:
        open_video(tmp_path / "no.mp4")
    assert caught.value.kind is ErrorKind.NOT_FOUND


def test_a_file_of_garbage_is_corrupt(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(b"\x00\x00\x00\x20ftypisom" + b"no media file" * 100)
    with pytest.raises(VmsError) as caught:
        open_video(path)
    assert caught.value.kind is ErrorKind.CORRUPT
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_directory_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(VmsError) as caught:
        open_video(tmp_path)
    assert caught.value.kind is ErrorKind.STORAGE


def test_an_elementary_stream_without_timestamps_is_refused_with_the_way_out(
    tmp_path: Path, coded: list[CodedPicture]
) -> None:
    path = tmp_path / "raw.h264"
    path.write_bytes(b"".join(lengths_to_annex_b(unit.payload) for unit in coded))
    with pytest.raises(VmsError, match="ffmpeg") as caught:
        list(demux_access_units(path))
    assert caught.value.kind is ErrorKind.UNSUPPORTED


def test_settings_that_x264_refuses_are_invalid() -> None:
    encoder = Encoder(EncoderSettings(321, 241, FrameRate(25), 100_000, gop=10))
    with pytest.raises(VmsError, match="321x241") as caught:
        encoder.encode(bytes(321 * 241), bytes(160 * 120), bytes(160 * 120), 0)
    assert caught.value.kind is ErrorKind.INVALID


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    picture = Scene(320, 240).draw(0, 1)
    with (
        pytest.raises(VmsError, match="cannot be written") as caught,
        Mp4Encoder(tmp_path / "no" / "x.mp4", SETTINGS) as out,
    ):
        out.add(picture.y, picture.u, picture.v)
    assert caught.value.kind is ErrorKind.STORAGE


def test_a_file_without_video_is_unsupported(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        out.writeframes(bytes(16_000))
    with pytest.raises(VmsError, match=r"no H\.264 or H\.265") as caught:
        open_video(path)
    assert caught.value.kind is ErrorKind.UNSUPPORTED
