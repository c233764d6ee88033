"""Child processes of ``vms up``: started, watched, restarted with back-off, stopped within a deadline."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from vms.common.clock import Clock
from vms.common.supervise import Backoff, BackoffPolicy
from vms.telemetry.logging import get_logger

# The limit is low because footage is lost while the recorder waits; a start costs half a second of CPU.
_POLICY = BackoffPolicy(first_s=0.1, limit_s=2.0, healthy_after_s=10.0)
_log = get_logger("vms.up")


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run. Secrets never go into ``arguments``: everybody on the machine can read them."""

    name: str
    arguments: Sequence[str]


def python_module(module: str, *arguments: str) -> tuple[str, ...]:
    """Command line of one of our modules in this interpreter."""
    return (sys.executable, "-m", module, *arguments)


class SupervisedProcess:
    """One child that is running, or waiting to be started again."""

    def __init__(self, spec: ProcessSpec, clock: Clock) -> None:
        self.spec = spec
        self.restarts = 0
        self.pid: int | None = None
        self._clock = clock

    async def run(self) -> None:
        """Keep the child running until cancelled; then it has ended when this returns."""
        backoff = Backoff(_POLICY)
        while True:
            started = self._clock.monotonic()
            code = await self._run_once()
            if self._clock.monotonic() - started >= _POLICY.healthy_after_s:
                backoff.reset()
            delay_s = backoff.next_delay_s()
            self.restarts += 1
            _log.warning("process ended", process=self.spec.name, code=code, restart_in_s=round(delay_s, 1))
            await asyncio.sleep(delay_s)

    async def _run_once(self) -> int | str:
        """Exit code, or why it did not start."""
        try:
            # A session of its own: Ctrl-C in the terminal reaches only `vms up`, which stops the children in order.
            process = await asyncio.create_subprocess_exec(*self.spec.arguments, start_new_session=True)
        except OSError as error:  # out of memory or processes: that may pass
            return error.strerror or str(error)
        self.pid = process.pid
        try:
            return await process.wait()
        except asyncio.CancelledError:
            await asyncio.shield(_stop(process))
            raise
        finally:
            self.pid = None


async def _stop(process: asyncio.subprocess.Process, grace_s: float = 2.0) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), grace_s)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
