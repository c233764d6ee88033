from pathlib import Path

import pytest

from vms.proto import generate, media_pb2


def test_the_committed_code_is_what_the_compiler_writes_now() -> None:
    assert generate.stale_files() == []
    assert generate.main(["--check"]) == 0


def test_check_names_a_file_that_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "vms" / "proto"
    package.mkdir(parents=True)
    monkeypatch.setattr(generate, "PROTO_DIR", package)
    source = package / "one.proto"
    source.write_text('syntax = "proto3";\npackage t1;\nmessage A { int32 x = 1; }\n')
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    source.write_text('syntax = "proto3";\npackage t1;\nmessage A { int32 y = 1; }\n')
    assert generate.main(["--check"]) == 1
    assert "one_pb2.py" in capsys.readouterr().err


def test_generated_code_fits_the_installed_runtime() -> None:
    assert media_pb2.GopRequest.FromString(media_pb2.GopRequest(lease_s=2.5).SerializeToString()).lease_s == 2.5
