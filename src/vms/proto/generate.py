"""Generate the Python code of the .proto files: ``python -m vms.proto.generate [--check]``.

The generated modules are committed, so that an installation needs no compiler. grpcio-tools (test extra) is pinned in
requirements/test.txt; the code it writes refuses a protobuf runtime that is older than itself, so the lower bound of
protobuf in pyproject.toml follows the compiler.
"""

import argparse
import sys
import sysconfig
import tempfile
from pathlib import Path

PROTO_DIR = Path(__file__).resolve().parent


def generate(out_dir: Path) -> list[Path]:
    """Write ``*_pb2.py`` and ``*_pb2.pyi`` of every .proto file to ``out_dir``; returns the files written.

    Raises RuntimeError when the compiler finds a mistake (it prints where).
    """
    # Only developers have the compiler.
    from grpc_tools import protoc  # type: ignore[import-untyped]

    source_root = PROTO_DIR.parent.parent
    names = sorted(path.name for path in PROTO_DIR.glob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        # Stubs by mypy-protobuf: those that protoc itself writes do not pass mypy --strict.
        plugin = Path(sysconfig.get_path("scripts")) / "protoc-gen-mypy"
        arguments = ["protoc", f"-I{source_root}", f"--plugin=protoc-gen-mypy={plugin}"]
        arguments += [f"--python_out={scratch}", f"--mypy_out=quiet:{scratch}"]
        if protoc.main(arguments + [f"vms/proto/{name}" for name in names]) != 0:
            raise RuntimeError("protoc failed: see its messages above")
        written = []
        for path in sorted((Path(scratch) / "vms" / "proto").iterdir()):
            target = out_dir / path.name
            target.write_bytes(path.read_bytes())
            written.append(target)
    return written


def stale_files() -> list[str]:
    """Names of generated files that are missing, outdated, or without a source."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = {path.name: path.read_bytes() for path in generate(Path(scratch))}
    committed = {
        path.name: path.read_bytes() for pattern in ("*_pb2.py", "*_pb2.pyi") for path in PROTO_DIR.glob(pattern)
    }
    return sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))


def main(arguments: list[str]) -> int:
    """Exit code 0, or 1 when ``--check`` finds stale files."""
    parser = argparse.ArgumentParser(prog="python -m vms.proto.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when the committed code is stale")
    if parser.parse_args(arguments).check:
        stale = stale_files()
        if stale:
            sys.stderr.write(f"stale: {', '.join(stale)}: run python -m vms.proto.generate\n")
        return 1 if stale else 0
    generate(PROTO_DIR)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
