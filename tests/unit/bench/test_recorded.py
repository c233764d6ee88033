from pathlib import Path

import pytest
from tests.support.recordings import fragment, record
from tests.support.services import free_port
from tests.support.web_stub import Reply, web_stub

from vms.bench.recorded import IngestFacts, ingest_facts, recorded_frames
from vms.common.stream import Container

METRICS = b"""# HELP vms_camera_up 1 while frames arrive
vms_camera_up{camera="a"} 1.0
vms_camera_up{camera="b"} 1.0
vms_camera_up_other{camera="b"} 9.0
vms_camera_ring_bytes{camera="a"} 1.5e+06
vms_camera_ring_bytes{camera="b"} 500000.0
vms_camera_lost_packets_total{camera="a"} 3.0
"""


def test_the_facts_are_sums_over_all_cameras() -> None:
    with web_stub() as web:
        web.replies["/metrics"] = Reply(METRICS)
        port = int(web.url.rpartition(":")[2])
        assert ingest_facts(port) == IngestFacts(online=2, ring_bytes=2_000_000, lost_packets=3)


def test_a_service_that_does_not_answer_has_no_facts() -> None:
    assert ingest_facts(free_port()) is None


@pytest.mark.parametrize("container", list(Container))
def test_frames_on_disk_are_those_that_were_sent(container: Container, tmp_path: Path) -> None:
    record(tmp_path, [fragment(number) for number in range(10)], container)
    assert recorded_frames(tmp_path, 3600) == (250, 250)


def test_a_frame_that_is_missing_in_the_middle_is_noticed(tmp_path: Path) -> None:
    fragments = [fragment(number) for number in range(10)]
    del fragments[4].units[-1]  # the one before lasts longer then
    record(tmp_path, fragments, Container.MP4)
    assert recorded_frames(tmp_path, 3600) == (250, 249)


def test_no_recording_is_no_frame(tmp_path: Path) -> None:
    assert recorded_frames(tmp_path, 3600) == (0, 0)
