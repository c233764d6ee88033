from tests.support.recordings import PARAMS, unit

from vms.common.stream import Container, FrameFlag, VideoCodec
from vms.common.types import Resolution


def test_a_unit_is_a_keyframe_by_its_flag_alone() -> None:
    key, other = unit(0, key=True), unit(1)
    assert key.is_keyframe
    assert not other.is_keyframe
    other.flags |= FrameFlag.CORRUPT | FrameFlag.KEYFRAME
    assert other.is_keyframe


def test_a_unit_costs_no_dictionary() -> None:
    assert not hasattr(unit(0), "__dict__")


def test_the_values_are_those_of_files_and_messages() -> None:
    assert [str(codec) for codec in VideoCodec] == ["h264", "h265"]
    assert [str(container) for container in Container] == ["mp4", "mkv"]
    assert [int(flag) for flag in FrameFlag] == [1, 2, 4, 8]  # on disk in every index record


def test_parameters_say_their_size_as_one_value() -> None:
    assert PARAMS.resolution == Resolution(320, 240)
