import asyncio
import threading

import pytest

from vms.storage.threads import FileThreads


async def test_work_runs_in_a_bounded_number_of_threads_of_its_own() -> None:
    seen: set[str] = set()
    both = threading.Barrier(2, timeout=5)

    def work() -> None:
        seen.add(threading.current_thread().name)
        both.wait()

    with FileThreads(2) as threads:
        await asyncio.gather(*(threads.run(work) for _ in range(4)))
    assert len(seen) == 2
    assert all(name.startswith("storage-file") for name in seen)


async def test_what_the_work_returns_or_raises_comes_back() -> None:
    with FileThreads(1) as threads:
        assert await threads.run(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await threads.run(divmod, 7, 0)
