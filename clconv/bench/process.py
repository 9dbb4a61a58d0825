"""The parent's end of a worker process: ask it, stop it while another one is measured, notice when it dies."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import IO, Any

from clconv.bench.peers import Peer

_CAN_STOP = hasattr(signal, "SIGSTOP")


class WorkerDiedError(Exception):
    """The process ended, or did not answer in time; the message says which."""


class Process:
    """A library in a process of its own, asleep except while it answers.

    Thread pools spin for a while after each call. On a machine with few cores that would slow down whoever is measured
    next, so a worker is stopped (``SIGSTOP``) between requests.

    Parameters
    ----------
    peer : Peer
    threads : int
        Threads that the library may use.
    timeout : float
        Seconds after which a request is given up, beside those that it asks to be timed for.
    """

    def __init__(self, peer: Peer, threads: int, timeout: float = 120.0) -> None:
        self.peer = peer
        self.threads = threads
        self.timeout = timeout
        self._child: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and return the answer; the process is started when there is none.

        Raises
        ------
        WorkerDiedError
            If no answer comes. The next request starts a new process, which has nothing loaded.
        """
        child = self._child or self._start()
        assert child.stdin is not None  # both are pipes
        assert child.stdout is not None
        self._signal("SIGCONT")
        try:
            child.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            child.stdin.flush()
            longer = 3 * float(arguments.get("seconds", 0))  # with a warm-up, and a last call that runs over
            line = child.stdout.readline() if self._ready(child.stdout, longer) else None
        except BrokenPipeError:
            line = b""
        if not line:
            raise WorkerDiedError(self._reason(late=line is None))
        self._signal("SIGSTOP")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process; it may be asked again, and is then a new one."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout, self._stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # a request that nobody read
                    pipe.close()

    def _ready(self, pipe: IO[bytes], longer: float) -> bool:
        """Wait for an answer; False if it is too late. Windows cannot wait for a pipe: there it waits for ever."""
        return os.name == "nt" or bool(select.select([pipe], [], [], self.timeout + longer)[0])

    def _start(self) -> subprocess.Popen[bytes]:
        threads = str(self.threads)
        environment = dict(os.environ, OMP_NUM_THREADS=threads, POCL_MAX_PTHREAD_COUNT=threads)
        command = [sys.executable, "-m", "clconv.bench.worker", self.peer.loader, threads]
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process, in close()
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, env=environment
        )
        return self._child

    def _signal(self, name: str) -> None:
        if _CAN_STOP and self._child is not None and self._child.poll() is None:
            self._child.send_signal(getattr(signal, name))

    def _reason(self, late: bool) -> str:
        """End what is left of the process, and say in a few words what happened to it."""
        child, stderr = self._child, self._stderr
        assert child is not None  # a request was sent to it
        assert stderr is not None
        if late:
            self.close()
            return f"no answer within {self.timeout:g} s"
        code = child.wait()
        stderr.seek(0)
        lines = stderr.read().decode(errors="replace").strip().splitlines()
        self.close()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"{how}: {lines[-1][:200]}" if lines else how
