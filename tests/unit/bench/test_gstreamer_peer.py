"""The peer runs in the system's Python, which may have neither our packages nor our version."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from vms.bench import ingest

SCRIPT = Path(ingest.__file__).with_name("gstreamer_peer.py")


def test_it_imports_nothing_but_gi_and_the_standard_library() -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(SCRIPT.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported - sys.stdlib_module_names == {"gi"}


def test_it_plays_with_the_systems_gstreamer(tmp_path: Path) -> None:
    check = "import gi; gi.require_version('Gst', '1.0'); from gi.repository import Gst"
    if subprocess.run(["/usr/bin/python3", "-c", check], capture_output=True, check=False).returncode:
        pytest.skip("needs python3-gi and GStreamer: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0")
    command = ["/usr/bin/python3", str(SCRIPT), "rtsp://127.0.0.1:1/cam{n}", "2", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
        finally:
            process.kill()
