"""CPU time and memory of processes, as the kernel accounts them."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Sum over some processes: CPU seconds so far, resident bytes now."""

    cpu_s: float
    rss_bytes: int


def usage(pids: Iterable[int]) -> Usage:
    """Usage of the processes that are alive; threads included, children not."""
    cpu_s, rss = 0.0, 0
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            statm = Path(f"/proc/{pid}/statm").read_text()
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()
        cpu_s += (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
        rss += int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return Usage(cpu_s, rss)
