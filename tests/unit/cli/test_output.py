import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vms.cli.output import print_rows


def test_a_table_has_the_named_columns_and_a_dash_for_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, object]] = [{"a_b": 1, "c": 2.25, "other": "x"}, {"a_b": None}]
    print_rows(rows, ("a_b", "c"), as_json=False, empty="none")
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert shown == [["a", "b", "c"], ["1", "2.2"], ["-", "-"]]


def test_json_holds_everything(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"a": 1, "b": None, "c": [1, {"d": "é"}]}]
    print_rows(rows, ("a",), as_json=True, empty="none")
    assert json.loads(capsys.readouterr().out) == rows


def test_nothing_to_show_says_so_beside_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([], ("a",), as_json=False, empty="Nothing yet.")
    assert capsys.readouterr() == ("", "Nothing yet.\n")
    print_rows([], ("a",), as_json=True, empty="Nothing yet.")
    assert capsys.readouterr() == ("[]\n", "")


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from("[]/\\:abcred#=@"), min_size=1, max_size=20))
def test_no_name_is_taken_for_markup(capsys: pytest.CaptureFixture[str], name: str) -> None:
    print_rows([{"name": name}], ("name",), as_json=False, empty="")
    assert capsys.readouterr().out.splitlines()[1].rstrip() == name


def test_long_values_stay_on_their_line_when_a_program_reads(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([{"a": "x" * 500, "b": "y" * 500}], ("a", "b"), as_json=False, empty="")
    assert len(capsys.readouterr().out.splitlines()) == 2
