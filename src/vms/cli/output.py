"""Printing of lists: a table for people, JSON for programs."""

import json
import sys
from collections.abc import Mapping, Sequence

_PIPE_WIDTH = 10_000  # no terminal: one line per row, whatever reads it


def print_rows(rows: Sequence[Mapping[str, object]], columns: Sequence[str], *, as_json: bool, empty: str) -> None:
    """Print ``rows``: all keys as JSON, or the named ``columns`` as a table; ``empty`` says what to do when none."""
    if as_json:
        print(json.dumps(list(rows), indent=2))
        return
    if not rows:
        print(empty, file=sys.stderr)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        # Text, not str: rich would take a camera that is called "[door]" for a style.
        table.add_row(*(Text(_cell(row.get(column))) for column in columns))
    Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    return str(value)
