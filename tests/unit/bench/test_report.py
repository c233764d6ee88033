import json

from vms.bench.ingest import BenchResult, BenchSettings, Cost
from vms.bench.report import as_json, table


def result(**changes: object) -> BenchResult:
    found = BenchResult(
        settings=BenchSettings(cameras=100, seconds=20.0, rounds=3),
        bitrate_mbps=4.016,
        vms=Cost(0.15, 0.71),
        floor=Cost(0.16, 0.05),
        frames_expected=50_000,
        frames_recorded=50_000,
        packets_lost=0,
        ffmpeg=Cost(0.5, 52.0),
        spread={"vms": [0.151111, 0.149]},
    )
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def test_the_json_form_is_the_documented_one() -> None:
    document = json.loads(json.dumps(as_json(result())))
    assert document == {
        "cameras": 100,
        "seconds": 20.0,
        "rounds": 3,
        "paced": False,
        "frame_writes": False,
        "bitrate_mbps": 4.02,
        "vms": {
            "cpu_percent_per_camera": 0.15,
            "rss_mb_per_camera": 0.71,
            "frames_expected": 50_000,
            "frames_recorded": 50_000,
            "packets_lost": 0,
        },
        "floor": {"cpu_percent_per_camera": 0.16, "rss_mb_per_camera": 0.05},
        "ffmpeg": {"cpu_percent_per_camera": 0.5, "rss_mb_per_camera": 52.0},
        "gstreamer": None,
        "ratios": {"vms_to_floor": 0.938, "vms_to_ffmpeg": 0.3, "vms_to_gstreamer": None},
        "cpu_percent_per_camera_by_round": {"vms": [0.1511, 0.149]},
    }


def test_the_table_names_every_recorder_and_says_what_is_missing() -> None:
    text = table(result(frames_recorded=49_999))
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    assert "0.94 ×" in lines["floor"]
    assert "0.30 ×" in lines["ffmpeg"]
    assert "not installed" in lines["gstreamer"]
    assert "packets written back to back" in text
    assert "49999 recorded of 50000 sent" in text
    paced = BenchSettings(cameras=20, seconds=20, paced_mbit=150)
    assert "one by one over 150 Mbit/s" in table(result(settings=paced))


def test_a_run_too_short_to_measure_divides_by_nothing() -> None:
    idle = result(floor=Cost(0.0, 0.0))
    assert as_json(idle)["ratios"]["vms_to_floor"] is None
    assert "floor" in table(idle)
