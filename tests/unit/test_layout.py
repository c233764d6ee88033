"""House rules that a script can check. Each is tried on an offence first: it cannot pass by finding nothing."""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "vms"
UNIT = ROOT / "tests" / "unit"
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
MAX_LINES = 600  # a module is one idea, typically below 300 lines
NOT_SOURCE = re.compile(r"(^|/)(__init__|\w+_pb2)\.py$|^db/migrations/|^__init__")
TIME_READERS = {
    *("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns"),
    *("datetime.now", "datetime.utcnow", "datetime.datetime.now", "datetime.date.today", "date.today"),
}
# The bench and the launcher measure and print for people; everything else logs, and asks a Clock.
PRINTERS = ("cli/", "bench/")
SUBJECT = re.compile(r"^(vms\.(media|recording|events|command|fragment)\.|vms_(cameras|status|leases)$|VMS_[A-Z]+$)")


def sources() -> list[str]:
    """Our modules, relative to src/vms."""
    paths = (path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))
    return sorted(path for path in paths if not re.search(r"_pb2\.py$", path))


def tree(name: str) -> ast.Module:
    return ast.parse((SOURCE / name).read_text(encoding="utf-8"))


def test_every_source_module_has_its_test_file() -> None:
    expected = {mirrored(name) for name in sources() if not NOT_SOURCE.search(name)}
    assert sorted(name for name in expected if not (UNIT / name).is_file()) == []


def test_every_test_file_has_its_source_module() -> None:
    expected = {mirrored(name) for name in sources()} | {"test_layout.py"}
    found = {path.relative_to(UNIT).as_posix() for path in UNIT.rglob("test_*.py")}
    assert sorted(found - expected) == []


def mirrored(name: str) -> str:
    directory, _, module = name.rpartition("/")
    return f"{directory}/test_{module}" if directory else f"test_{module}"


def test_every_test_file_has_tests_whose_names_are_sentences() -> None:
    for path in UNIT.rglob("test_*.py"):
        functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, FUNCTIONS)]
        names = [node.name for node in functions if node.name.startswith("test_")]
        assert names, path
        assert [name for name in names if name.count("_") < 2] == [], path


def test_no_module_is_too_long() -> None:
    assert [name for name in sources() if len((SOURCE / name).read_text().splitlines()) > MAX_LINES] == []


@pytest.mark.parametrize("word", ["utils", "helpers", "manager", "misc", "common_"])
def test_no_module_has_a_name_that_says_nothing(word: str) -> None:
    assert [name for name in sources() if re.search(rf"(^|/){word}s?\.py$", name)] == []


# --- rules on what a module does ---------------------------------------------------------------------

Rule = Callable[[ast.Module], Iterator[str]]


def third_party_imports(module: ast.Module) -> Iterator[str]:
    """What is imported besides the standard library and ourselves."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        yield from (n for n in names if n.partition(".")[0] not in {*sys.stdlib_module_names, "vms"})


def prints(module: ast.Module) -> Iterator[str]:
    """Calls of print()."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield f"line {node.lineno}"


def time_readings(module: ast.Module) -> Iterator[str]:
    """Places that ask the machine for the time."""
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in TIME_READERS:
            yield f"line {node.lineno}: {ast.unparse(node)}"


def spelled_subjects(module: ast.Module) -> Iterator[str]:
    """Subjects, streams and buckets of the bus as text; docstrings may speak of them."""
    expressions = (node.value for node in ast.walk(module) if isinstance(node, ast.Expr))
    documented = {id(value) for value in expressions if isinstance(value, ast.Constant)}
    for node in ast.walk(module):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in documented:
            continue
        if SUBJECT.match(node.value):
            yield f"line {node.lineno}: {node.value}"


def broad_excepts(module: ast.Module) -> Iterator[str]:
    """Handlers for every exception; each gives its reason in the comment that the linter asks for."""
    for node in ast.walk(module):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"line {node.lineno}: bare except"


def unbounded_queues(module: ast.Module) -> Iterator[str]:
    """asyncio queues without a bound: nobody said what happens when nobody reads."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "asyncio.Queue" and not node.args + node.keywords:
            yield f"line {node.lineno}"


def everywhere(_: str) -> bool:
    return True


def recording_format(name: str) -> bool:
    return name.startswith("format/")


def not_for_people(name: str) -> bool:
    return not name.startswith(PRINTERS) and name != "proto/generate.py"


def not_the_clock(name: str) -> bool:
    return name != "common/clock.py"


def not_the_subjects(name: str) -> bool:
    # Settings have a prefix of their own that looks alike; the topology names what the subjects define.
    return name not in {"proto/subjects.py", "common/settings.py"} and not name.startswith("cli/")


RULES: list[tuple[Rule, Callable[[str], bool], str]] = [
    (third_party_imports, recording_format, "import zlib, numpy"),
    (prints, not_for_people, "print('x')"),
    (time_readings, not_the_clock, "import time; time.time()"),
    (time_readings, not_the_clock, "import datetime; datetime.datetime.now()"),
    (spelled_subjects, not_the_subjects, "subject = f'vms.media.{stream}.au'"),
    (spelled_subjects, not_the_subjects, "bucket = 'vms_status'"),
    (broad_excepts, everywhere, "try: x()\nexcept: pass"),
    (unbounded_queues, everywhere, "import asyncio; q = asyncio.Queue()"),
]


@pytest.mark.parametrize(("rule", "applies", "offence"), RULES)
def test_no_module_breaks_a_rule(rule: Rule, applies: Callable[[str], bool], offence: str) -> None:
    assert list(rule(ast.parse(offence))) != []
    broken = {name: found for name in sources() if applies(name) and (found := list(rule(tree(name))))}
    assert broken == {}


def test_every_broad_except_gives_its_reason() -> None:
    pattern = re.compile(r"except (Exception|BaseException)\b.*?:(.*)$", re.MULTILINE)
    for name in sources():
        for caught, rest in pattern.findall((SOURCE / name).read_text()):
            if caught == "Exception":
                assert re.search(r"# noqa: BLE001 - \w+", rest), f"{name}: {rest}"


@pytest.mark.parametrize("directory", ["src", "tests", "benchmarks", "fuzz", "design", "docs"])
def test_nothing_unfinished_is_left_in_the_repository(directory: str) -> None:
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b|NotImplemented" + r"Error")
    files = [path for path in (ROOT / directory).rglob("*") if path.suffix in {".py", ".md", ".proto"}]
    assert [str(path.relative_to(ROOT)) for path in files if marks.search(path.read_text(encoding="utf-8"))] == []


def test_no_test_sleeps_in_real_time() -> None:
    sleeping = re.compile(r"\btime\.sleep\(")
    assert [str(path) for path in UNIT.rglob("*.py") if sleeping.search(path.read_text())] == []
