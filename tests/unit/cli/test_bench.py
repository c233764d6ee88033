import json
from pathlib import Path

import pytest
from tests.support.cli import vms

from vms.bench import ingest
from vms.bench.ingest import BenchResult, BenchSettings, Cost


def result_of(settings: BenchSettings, *, recorded: int = 100, lost: int = 0) -> BenchResult:
    return BenchResult(
        settings=settings,
        bitrate_mbps=4.0,
        vms=Cost(0.2, 1.0),
        floor=Cost(0.25, 2.0),
        frames_expected=100,
        frames_recorded=recorded,
        packets_lost=lost,
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[BenchSettings]:
    """Runs that were asked for; each finds what the environment of the test says."""
    seen: list[BenchSettings] = []

    async def run_bench(settings: BenchSettings, *, progress: object) -> BenchResult:
        assert callable(progress)
        seen.append(settings)
        return result_of(settings)

    monkeypatch.setattr(ingest, "run_bench", run_bench)
    return seen


def test_the_options_are_the_benchmarks_settings(
    asked: list[BenchSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = "--cameras 3 --seconds 5 --bitrate 2 --rounds 2 --paced --link 100 --no-peers --work-dir"
    assert vms(monkeypatch, "bench", "ingest", *options.split(), tmp_path).code == 0
    assert asked == [BenchSettings(3, 5, 2, 2, 100.0, peers=False, work_dir=tmp_path)]
    assert vms(monkeypatch, "bench", "ingest").code == 0
    assert asked[1] == BenchSettings(20, 20)


def test_the_table_goes_to_people_and_json_where_it_was_asked_for(
    asked: list[BenchSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = vms(monkeypatch, "bench", "ingest", "--json", "-")
    assert json.loads(done.out)["ratios"]["vms_to_floor"] == 0.8
    assert "0.80 ×" in done.err
    done = vms(monkeypatch, "bench", "ingest", "--json", tmp_path / "result.json")
    assert done.out == ""
    assert json.loads((tmp_path / "result.json").read_text())["cameras"] == 20
    assert len(asked) == 2


def test_a_run_that_lost_frames_is_a_failure_and_its_figures_are_printed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for recorded, lost in ((99, 0), (100, 1)):

        async def run_bench(
            settings: BenchSettings, *, progress: object, recorded: int = recorded, lost: int = lost
        ) -> BenchResult:
            del progress
            return result_of(settings, recorded=recorded, lost=lost)

        monkeypatch.setattr(ingest, "run_bench", run_bench)
        done = vms(monkeypatch, "bench", "ingest", "--json", "-")
        assert done.code == 1
        assert "frames were lost" in done.err
        assert json.loads(done.out)["vms"]["frames_recorded"] == recorded


def test_a_file_that_cannot_be_written_is_one_line(
    asked: list[BenchSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = vms(monkeypatch, "bench", "ingest", "--json", tmp_path / "missing" / "result.json")
    assert (done.code, len(asked)) == (1, 1)
    assert done.err.endswith("cannot be written: No such file or directory\n")
