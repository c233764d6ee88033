from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.storage import DAY_US, HOUR_US, facts

from vms.common.types import CameraId
from vms.storage.retention import Reason, RetentionPolicies, VolumeState, plan_retention
from vms.storage.segments import SegmentFacts

NOW_US = 1_800_000_000_000_000
ROOMY = {"main": VolumeState(10, 0)}


def aged(days: float, camera: str = "cam_a", volume: str = "main", *, closed: bool = True) -> SegmentFacts:
    end_us = NOW_US - round(days * DAY_US)
    return replace(
        facts(id=f"{camera}-{volume}-{days}", volume=volume, closed=closed),
        camera_id=CameraId(camera),
        start_us=end_us - HOUR_US,
        end_us=end_us,
    )


def planned(segments: list[SegmentFacts], policies: RetentionPolicies, volumes: dict[str, VolumeState]) -> list[str]:
    return [deletion.segment.id for deletion in plan_retention(segments, policies, volumes, NOW_US)]


def test_each_camera_keeps_its_own_days_and_an_unknown_one_the_default() -> None:
    segments = [aged(days, camera) for camera in ("cam_a", "cam_b", "cam_x") for days in (5, 15, 40)]
    policies = RetentionPolicies({"cam_a": 7, "cam_b": 36}, 30)
    assert planned(segments, policies, ROOMY) == ["cam_a-main-40", "cam_b-main-40", "cam_x-main-40", "cam_a-main-15"]


def test_nothing_is_too_old_before_the_configuration_was_loaded() -> None:
    assert planned([aged(4000)], RetentionPolicies(None, 30), ROOMY) == []


def test_a_recording_exactly_at_its_age_stays() -> None:
    assert planned([aged(30)], RetentionPolicies({}, 30), ROOMY) == []
    assert planned([aged(30 + 1e-9)], RetentionPolicies({}, 30), ROOMY) == ["cam_a-main-30.000000001"]


def test_a_file_that_is_written_to_is_never_chosen() -> None:
    full = {"main": VolumeState(0, 1 << 60)}
    assert planned([aged(400, closed=False)], RetentionPolicies({}, 30), full) == []


def test_the_floor_takes_the_oldest_across_cameras_and_no_more_than_it_needs() -> None:
    segments = [aged(days, camera) for camera, days in (("cam_a", 1), ("cam_b", 3), ("cam_a", 2), ("cam_b", 0.5))]
    volumes = {"main": VolumeState(free_bytes=500_000, min_free_bytes=2_000_000)}  # 1.5 files of 1 MB
    plan = plan_retention(segments, RetentionPolicies({}, 30), volumes, NOW_US)
    assert [deletion.segment.id for deletion in plan] == ["cam_b-main-3", "cam_a-main-2"]
    assert {deletion.reason for deletion in plan} == {Reason.FREE_SPACE}


def test_what_goes_by_age_counts_towards_the_floor() -> None:
    volumes = {"main": VolumeState(free_bytes=0, min_free_bytes=1_000_000)}
    assert planned([aged(40), aged(1)], RetentionPolicies({}, 30), volumes) == ["cam_a-main-40"]


def test_a_volume_that_is_not_there_is_left_alone() -> None:
    assert planned([aged(400, volume="usb"), aged(400)], RetentionPolicies({}, 30), ROOMY) == ["cam_a-main-400"]


def test_a_full_volume_deletes_nothing_from_the_others() -> None:
    volumes = {"main": VolumeState(0, 1 << 60), "fast": VolumeState(10, 0)}
    segments = [aged(2, volume="fast"), aged(1)]
    assert planned(segments, RetentionPolicies({}, 30), volumes) == ["cam_a-main-1"]


segment_lists = st.lists(
    st.builds(
        aged,
        st.floats(0, 100),
        st.sampled_from(["cam_a", "cam_b"]),
        st.sampled_from(["main", "fast", "usb"]),
        closed=st.booleans(),
    ),
    max_size=30,
)


@settings(max_examples=100)
@given(segment_lists, st.integers(0, 20_000_000), st.integers(0, 20_000_000))
def test_whatever_the_rules_only_closed_files_of_mounted_volumes_go_oldest_first_and_free_enough(
    segments: list[SegmentFacts], free: int, floor: int
) -> None:
    volumes = {"main": VolumeState(free, floor), "fast": VolumeState(free, floor)}
    plan = plan_retention(segments, RetentionPolicies({"cam_a": 50}, 30), volumes, NOW_US)
    ends = [deletion.segment.end_us for deletion in plan]
    assert ends == sorted(ends)
    assert all(deletion.segment.closed and deletion.segment.volume in volumes for deletion in plan)
    for name, state in volumes.items():
        freed = sum(deletion.segment.size_bytes for deletion in plan if deletion.segment.volume == name)
        left = [s for s in segments if s.closed and s.volume == name and s not in [d.segment for d in plan]]
        assert freed >= state.missing_bytes or not left
