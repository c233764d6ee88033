import os
import subprocess
import sys
import time

import pytest

from vms.bench.procfs import Usage, usage


def test_work_is_counted_as_the_kernel_counts_it() -> None:
    before = usage([os.getpid()])
    spent = time.process_time() + 0.1
    while time.process_time() < spent:
        pass
    after = usage([os.getpid()])
    assert after.cpu_s - before.cpu_s == pytest.approx(0.1, abs=0.05)
    assert after.cpu_s == pytest.approx(time.process_time(), abs=0.1)
    assert 10e6 < after.rss_bytes < 10e9


def test_processes_add_up_and_dead_ones_count_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as child:
        one = usage([os.getpid()])
        both = usage([os.getpid(), child.pid])
        assert both.rss_bytes > one.rss_bytes
        assert child.stdin is not None
        child.stdin.close()
    assert usage([child.pid]) == Usage(0.0, 0)
    assert usage([]) == Usage(0.0, 0)
