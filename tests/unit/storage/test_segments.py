import pytest

from vms.common.errors import ErrorKind, VmsError
from vms.storage.segments import Span, checked_span, segment_id


def test_the_id_of_a_file_is_made_of_its_place_and_stays_the_same() -> None:
    first = segment_id("main", "cameras/a/2026-03-01/video_10.mp4")
    assert first == segment_id("main", "cameras/a/2026-03-01/video_10.mp4")
    assert first == "rec_qq8x5wfh4eh7mdge"
    assert first != segment_id("fast", "cameras/a/2026-03-01/video_10.mp4")


@pytest.mark.parametrize(("start_us", "end_us"), [(1, 1), (2, 1), (0, 60_000_001)])
def test_an_empty_or_too_long_span_is_refused(start_us: int, end_us: int) -> None:
    with pytest.raises(VmsError) as caught:
        checked_span(start_us, end_us, limit_s=60, what="clip")
    assert caught.value.kind is ErrorKind.INVALID


def test_a_span_up_to_the_limit_is_taken() -> None:
    assert checked_span(0, 60_000_000, limit_s=60, what="clip") == Span(0, 60_000_000)
