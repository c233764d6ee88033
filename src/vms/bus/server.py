"""The embedded NATS server: a child process with JetStream in the data directory, restarted when it dies.

Files, all in ``{data_dir}/nats``: `server.conf`, `credentials` and `endpoint.json` (0600), `nats.log` (rotated by the
server), `jetstream/`, `lock`. The lock is held by the parent and inherited by the server, so it lasts as long as either
lives: two servers can never write the same store.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import secrets
import signal
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pydantic import SecretStr

from vms.bus.endpoint import read_greeting
from vms.bus.link import Report, ignore
from vms.bus.server_files import (
    acquire_lock,
    choose_port,
    client_url,
    find_binary,
    load_password,
    server_config,
    write_private,
)
from vms.bus.settings import BusSettings, endpoint_path
from vms.common.errors import ErrorKind, VmsError
from vms.common.supervise import Backoff, BackoffPolicy

DEFAULT_PORT: Final = 4222
_READY_TIMEOUT_S: Final = 15.0
_STOP_TIMEOUT_S: Final = 4.0
_RESTART: Final = BackoffPolicy(first_s=0.2, limit_s=10.0)
_STDERR_LINES: Final = 20
_PR_SET_PDEATHSIG: Final = 1


class EmbeddedNats:
    """``async with`` starts the server (VmsError when it cannot) and stops it; ``run()`` does so until cancelled."""

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = DEFAULT_PORT,
        binary: Path | None = None,
        host: str = "127.0.0.1",
        report: Report = ignore,
    ) -> None:
        self._dir = data_dir / "nats"
        self._endpoint = endpoint_path(data_dir)
        self._wanted_port = port
        self._binary = binary
        self._host = host
        self._report = report
        self._settings: BusSettings | None = None
        self._lock: int | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._stderr_task: asyncio.Task[None] | None = None
        self._watch_task: asyncio.Task[None] | None = None

    @property
    def settings(self) -> BusSettings:
        """Address and credentials for clients; there once it has started."""
        assert self._settings is not None
        return self._settings

    @property
    def url(self) -> str:
        """Address without credentials."""
        return self.settings.url

    @property
    def pid(self) -> int | None:
        """Process id of the server that runs now."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def run(self) -> None:
        """Run until cancelled."""
        async with self:
            await asyncio.Event().wait()

    async def __aenter__(self) -> Self:
        binary = find_binary(self._binary)
        try:
            self._dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = await acquire_lock(self._dir / "lock")
            # What a killed predecessor left is not ours to be found by.
            self._endpoint.unlink(missing_ok=True)
            password = load_password(self._dir / "credentials")
            self._settings = BusSettings(
                url=client_url(self._host, choose_port(self._host, self._wanted_port)),
                user="vms",
                password=SecretStr(password),
                server_name=f"vms-{secrets.token_hex(6)}",
            )
            write_private(self._dir / "server.conf", server_config(self._dir, self._host, self._settings))
            await self._start(binary)
            self._publish_endpoint()
        except BaseException as error:
            await self._stop()
            if isinstance(error, OSError):
                raise VmsError(ErrorKind.STORAGE, f"cannot start the bus in {self._dir}: {error.strerror}") from None
            raise
        self._watch_task = asyncio.create_task(self._watch(binary), name="nats-server")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch_task is not None:
            self._watch_task.cancel()
            await asyncio.gather(self._watch_task, return_exceptions=True)
        await self._stop()

    async def _watch(self, binary: Path) -> None:
        backoff = Backoff(_RESTART)
        loop = asyncio.get_running_loop()
        while True:
            assert self._process is not None
            started = loop.time()
            code = await self._process.wait()
            await self._end_stderr()
            if loop.time() - started >= _RESTART.healthy_after_s:
                backoff.reset()
            delay_s = backoff.next_delay_s()
            self._report("nats_server_died", code=code, restart_in_s=delay_s, last_words=" | ".join(self._stderr))
            await asyncio.sleep(delay_s)
            try:
                # The same port: the clients are waiting there.
                await self._start(binary)
            except (VmsError, OSError) as failure:
                self._report("nats_server_start_failed", error=str(failure))
                await self._kill()

    async def _start(self, binary: Path) -> None:
        self._stderr.clear()
        assert self._lock is not None
        self._process = await asyncio.create_subprocess_exec(
            binary,
            "--config",
            self._dir / "server.conf",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(self._lock,),
            # A few system calls between fork and exec, nothing that takes a lock.
            preexec_fn=_die_with_parent(os.getpid()),
        )
        self._stderr_task = asyncio.create_task(self._drain_stderr(self._process), name="nats-server-stderr")
        await self._wait_ready(self._process)

    async def _wait_ready(self, process: asyncio.subprocess.Process) -> None:
        """Return when our server greets at its port; a stranger's greeting does not count."""
        deadline = asyncio.get_running_loop().time() + _READY_TIMEOUT_S
        while process.returncode is None:
            with contextlib.suppress(VmsError):
                greeting = await read_greeting(self.settings.host, self.settings.port, timeout_s=1.0)
                if greeting.server_name == self.settings.server_name:
                    return
            if asyncio.get_running_loop().time() > deadline:
                raise VmsError(ErrorKind.TIMEOUT, f"nats-server does not get ready: see {self._dir / 'nats.log'}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    await process.wait()
        await self._end_stderr()
        words = self._stderr[-1] if self._stderr else f"see {self._dir / 'nats.log'}"
        raise VmsError(ErrorKind.UNAVAILABLE, f"nats-server ended at once (code {process.returncode}): {words}")

    async def _drain_stderr(self, process: asyncio.subprocess.Process) -> None:
        # The log goes to a file; here comes only what is said before that is open, and a panic's last words.
        assert process.stderr is not None
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:  # a line without end; the reader has discarded it
                continue
            if not line:
                return
            self._stderr.append(line.decode(errors="replace").rstrip()[:300])

    async def _end_stderr(self) -> None:
        if self._stderr_task is not None:
            await asyncio.wait({self._stderr_task}, timeout=1.0)
            self._stderr_task.cancel()
            await asyncio.gather(self._stderr_task, return_exceptions=True)

    async def _kill(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(_STOP_TIMEOUT_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        await self._end_stderr()

    async def _stop(self) -> None:
        # Only who holds the lock may withdraw the address: it may be another process's.
        if self._lock is not None:
            with contextlib.suppress(OSError):
                self._endpoint.unlink(missing_ok=True)
        await self._kill()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _publish_endpoint(self) -> None:
        settings = self.settings
        endpoint = {
            "url": settings.url,
            "user": settings.user,
            "password": settings.password.get_secret_value(),
            "server_name": settings.server_name,
            "pid": self.pid,
        }
        write_private(self._endpoint, json.dumps(endpoint))


def _die_with_parent(parent_pid: int) -> Callable[[], None]:
    """Code for the child between fork and exec: the kernel sends it SIGTERM when the parent dies, however it dies.

    The kernel means the thread that forked, which is the event loop's and ends with the process.
    """
    # Loaded here, because the child of a fork must not load anything.
    prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        # Ctrl-C in a terminal goes to the whole foreground group; the server has to outlive the services. Here, because
        # uvloop does not know the argument process_group.
        os.setpgid(0, 0)
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        # The parent may have died before the call above.
        if os.getppid() != parent_pid:
            os._exit(1)

    return prepare
