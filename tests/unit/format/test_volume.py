import threading
from collections.abc import Callable, Iterator

import pytest

from vms.common.clock import ManualClock
from vms.format.volume import VolumeWriter


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def volume(clock: ManualClock) -> Iterator[VolumeWriter]:
    writer = VolumeWriter("main", 1000, clock)
    writer.start()
    yield writer
    writer.stop()


def blocked(volume: VolumeWriter, nbytes: int) -> threading.Event:
    """Submit a job that runs until the returned event is set, and wait until it runs."""
    release, running = threading.Event(), threading.Event()

    def job() -> None:
        running.set()
        assert release.wait(10)

    assert volume.submit(job, nbytes)
    assert running.wait(10)
    return release


def failing(message: str) -> Callable[[], None]:
    def job() -> None:
        raise ValueError(message)

    return job


def test_jobs_run_in_order_on_one_thread_and_stop_drains_them(volume: VolumeWriter) -> None:
    done: list[tuple[int, str]] = []
    for number in range(100):
        assert volume.submit(lambda n=number: done.append((n, threading.current_thread().name)), 1)  # type: ignore[misc]
    volume.stop()
    assert done == [(number, "volume-main") for number in range(100)]
    assert volume.done_jobs == 100
    assert volume.queued_bytes == 0


def test_a_full_queue_takes_nothing_until_a_job_is_done(volume: VolumeWriter) -> None:
    release = blocked(volume, 600)
    assert volume.submit(lambda: None, 400)
    assert not volume.submit(lambda: None, 1)
    assert volume.queued_bytes == 1000
    room = threading.Event()
    release.set()
    while not volume.submit(room.set, 600):
        pass
    assert room.wait(10)


def test_a_job_larger_than_the_queue_is_taken_when_the_queue_is_empty(volume: VolumeWriter) -> None:
    release = blocked(volume, 5000)
    assert not volume.submit(lambda: None, 1)
    release.set()


def test_an_error_goes_to_its_own_callback_and_the_thread_goes_on(volume: VolumeWriter) -> None:
    errors: list[str] = []
    done = threading.Event()
    volume.submit(failing("a"), 1, lambda error: errors.append(str(error)))
    volume.submit(failing("nobody listens"), 1)
    volume.submit(failing("b"), 1, lambda error: errors.append(str(error)))
    volume.submit(done.set, 1)
    assert done.wait(10)
    assert errors == ["a", "b"]
    assert volume.failed_jobs == 3


def test_a_callback_that_fails_itself_does_not_end_the_thread(volume: VolumeWriter) -> None:
    done = threading.Event()
    volume.submit(failing("a"), 1, lambda _error: failing("b")())
    volume.submit(done.set, 1)
    assert done.wait(10)
    assert volume.failed_jobs == 2


def test_the_longest_job_is_told_once(volume: VolumeWriter, clock: ManualClock) -> None:
    for seconds in (0.5, 2.0, 1.0):
        volume.submit(lambda s=seconds: clock.advance(s), 1)  # type: ignore[misc]
    volume.stop()
    assert volume.take_longest_s() == 2.0
    assert volume.take_longest_s() == 0.0


def test_nothing_is_taken_before_start_and_after_stop() -> None:
    volume = VolumeWriter("main", 1000)
    assert not volume.submit(lambda: None, 1)
    volume.start()
    volume.stop()
    assert not volume.submit(lambda: None, 1)
    volume.stop()


def test_jobs_of_many_threads_are_all_done(volume: VolumeWriter) -> None:
    done: list[int] = []

    def submit_all(base: int) -> None:
        for number in range(200):
            while not volume.submit(lambda n=base + number: done.append(n), 10):  # type: ignore[misc]
                pass

    threads = [threading.Thread(target=submit_all, args=(base * 1000,)) for base in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    volume.stop()
    assert sorted(done) == sorted(base * 1000 + n for base in range(4) for n in range(200))
    assert volume.queued_bytes == 0
