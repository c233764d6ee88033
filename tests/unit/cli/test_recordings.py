import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cli import vms
from tests.support.web_stub import Reply, WebStub, web_stub

ROW = {"id": "rec_1", "start": "2026-03-01T10:00:00Z", "end": "2026-03-01T11:00:00Z", "frames": 90000, "bytes": 1}


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebStub]:
    with web_stub() as stub:
        monkeypatch.setenv("VMS_API_URL", stub.url)
        monkeypatch.setenv("VMS_STORAGE_URL", stub.url)
        yield stub


def test_recordings_of_a_camera_are_listed_over_all_pages(web: WebStub, monkeypatch: pytest.MonkeyPatch) -> None:
    web.replies["/api/v1/recordings/cam1"] = Reply({"items": [ROW], "next_cursor": "n"})
    web.replies["/api/v1/recordings/cam1?cursor=n"] = Reply({"items": [{**ROW, "id": "rec_2"}]})
    done = vms(monkeypatch, "recordings", "list", "cam1")
    assert (done.code, [line.split()[0] for line in done.out.splitlines()]) == (0, ["id", "rec_1", "rec_2"])
    assert [row["id"] for row in json.loads(vms(monkeypatch, "recordings", "list", "cam1", "--json").out)] == [
        "rec_1",
        "rec_2",
    ]


def test_times_are_sent_in_utc_whatever_zone_they_were_given_in(web: WebStub, monkeypatch: pytest.MonkeyPatch) -> None:
    query = "start=2026-03-01T09%3A00%3A00.000000Z&end=2026-03-01T10%3A00%3A00.000000Z"
    web.replies[f"/api/v1/recordings/a%2Fb?{query}"] = Reply({"items": []})
    span = ("--start", "2026-03-01T10:00:00+01:00", "--end", "2026-03-01T10:00:00")
    done = vms(monkeypatch, "recordings", "list", "a/b", *span)
    assert (done.code, done.out, done.err) == (0, "", "Nothing is recorded in that time.\n")


def test_what_is_no_time_is_one_line_and_nothing_is_asked(web: WebStub, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("yesterday", "1e300"):
        done = vms(monkeypatch, "recordings", "list", "cam1", "--start", text)
        assert (done.code, done.err.count("\n")) == (1, 1)
        assert f"'{text}' is not a time" in done.err
    assert web.asked == []


def test_an_export_is_saved_under_the_name_given(web: WebStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    query = "start=2026-03-01T10%3A00%3A00.000000Z&end=2026-03-01T10%3A00%3A30.000000Z"
    web.replies[f"/recordings/cam1/clip.mp4?{query}"] = Reply(b"x" * 2_500_000)
    span = ("--start", "2026-03-01T10:00:00Z", "--end", "2026-03-01T10:00:30Z")
    done = vms(monkeypatch, "export", "cam1", *span, "-o", tmp_path / "clip.mp4")
    assert (done.code, done.err) == (0, f"{tmp_path}/clip.mp4: 2.5 MB\n")
    assert (tmp_path / "clip.mp4").stat().st_size == 2_500_000


def test_an_export_of_nothing_fails_with_the_services_words_and_leaves_no_file(
    web: WebStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = vms(monkeypatch, "export", "cam1", "--start", "0", "--end", "1", "-o", tmp_path / "clip.mp4")
    assert done.code == 1
    assert done.err.startswith("vms: nothing at /recordings/cam1/clip.mp4")
    assert list(tmp_path.iterdir()) == []
    assert web.lines != []


def test_an_export_without_a_span_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    assert vms(monkeypatch, "export", "cam1", "-o", "x.mp4").code == 2
