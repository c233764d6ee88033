"""One writer thread per volume, so that a slow disk stalls neither the event loop nor the other volumes."""

import threading
from collections.abc import Callable
from queue import SimpleQueue

from vms.common.clock import Clock, SystemClock

Job = Callable[[], None]
OnError = Callable[[Exception], None]


class VolumeWriter:
    """Runs jobs in order on a thread of its own; the queue is bounded by the bytes that the jobs hold.

    When it is full ``submit`` takes nothing: the caller keeps its frames and tries again later. A job's error goes to
    that job's callback, on the writer thread, and never ends the thread. All methods may be called from any thread.
    """

    def __init__(self, name: str, max_queue_bytes: int, clock: Clock | None = None) -> None:
        self.name = name
        self.max_queue_bytes = max_queue_bytes
        self.failed_jobs = 0  # jobs that raised; plain counters, read by metrics once a second
        self.done_jobs = 0
        self._clock = clock or SystemClock()
        self._queue: SimpleQueue[tuple[Job, int, OnError | None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._queued_bytes = 0
        self._longest_s = 0.0
        self._is_open = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._is_open = True
        self._thread = threading.Thread(target=self._run, name=f"volume-{self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no more jobs, finish those queued, end the thread. Waits as long as the disk takes."""
        with self._lock:
            was_open, self._is_open = self._is_open, False
            if was_open:
                self._queue.put(None)
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def submit(self, job: Job, nbytes: int, on_error: OnError | None = None) -> bool:
        """Queue a job that holds ``nbytes``; False when the queue is full or stopped, and then nothing is taken.

        A job larger than the whole queue is taken when the queue is empty, or it never could be.
        """
        with self._lock:
            queued = self._queued_bytes
            if not self._is_open or (queued and queued + nbytes > self.max_queue_bytes):
                return False
            self._queued_bytes = queued + nbytes
            self._queue.put((job, nbytes, on_error))
        return True

    @property
    def queued_bytes(self) -> int:
        """Bytes held by the jobs that are not done."""
        return self._queued_bytes

    def take_longest_s(self) -> float:
        """Duration of the longest job since the last call."""
        with self._lock:
            longest, self._longest_s = self._longest_s, 0.0
        return longest

    def _run(self) -> None:
        monotonic = self._clock.monotonic
        while (item := self._queue.get()) is not None:
            job, nbytes, on_error = item
            began = monotonic()
            try:
                job()
            except Exception as error:  # noqa: BLE001 - the thread serves all cameras of the volume: it outlives any job
                self._report(error, on_error)
            took = monotonic() - began
            # The references must not keep a second of video alive until the next job comes.
            del item, job, on_error
            with self._lock:
                self._queued_bytes -= nbytes
                self.done_jobs += 1
                self._longest_s = max(self._longest_s, took)

    def _report(self, error: Exception, on_error: OnError | None) -> None:
        self.failed_jobs += 1
        if on_error is None:
            return
        try:
            on_error(error)
        except Exception:  # noqa: BLE001 - nobody is left to tell; failed_jobs counts both
            self.failed_jobs += 1
