"""The program in processes that start at once: each is forked from one that has imported PyTorch already.

Importing it takes longer than most tests of the command line do. A process forked here is the program all the same,
with its own arguments, environment, folder and streams, and exits as it does. What varsr itself imports is not imported
before: it depends on the environment. As a script this module is a client, for shells:

    python tests/zygote.py SOCKET ARGUMENTS...
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

SECONDS_TO_START = 120
_LONGEST = 1 << 20


class Zygote:
    """A process that is ready to become the program, and the socket by which it is asked to."""

    def __init__(self, address: Path) -> None:
        self.address = address

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run the program and return how it ended. Raises `AssertionError` with all stacks where it hangs."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Path(os.devnull).open("rb") as nothing:
            streams = [stream.fileno() for stream in (nothing, out, err)]
            with closing(_Request(self.address, arguments, environment, folder, streams)) as process:
                code = process.wait(timeout)
                if code is None:
                    os.kill(process.pid, signal.SIGABRT)  # which makes it say where all of its threads are
                    process.wait(10)
            texts = []
            for stream in (out, err):
                stream.seek(0)
                texts.append(stream.read().decode().replace("\r\n", "\n"))
        assert code is not None, f"{arguments} hangs:\n{texts[1]}"
        return subprocess.CompletedProcess(["varsr", *arguments], code, *texts)


@contextmanager
def zygote() -> Iterator[Zygote]:
    """A zygote that lives as long as the block."""
    with tempfile.TemporaryDirectory() as folder:
        address = Path(folder) / "zygote"
        settings = os.environ | {"OPENBLAS_NUM_THREADS": "1", "GOMP_SPINCOUNT": "10000"}
        with subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-c", "from tests.zygote import serve; serve()", str(address)],
            cwd=Path(__file__).parents[1],
            env=settings,
            stdout=subprocess.PIPE,
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
                yield Zygote(address)
            finally:
                process.terminate()


class _Request:
    """A program that was asked for."""

    def __init__(
        self,
        address: Path,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        streams: Sequence[int],
    ) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.connect(str(address))
        order = json.dumps([[*arguments], {**environment}, str(folder)]).encode()
        socket.send_fds(self._socket, [order], [*streams])
        self.pid = int(self._socket.recv(64))

    def close(self) -> None:
        """Forget it."""
        self._socket.close()

    def wait(self, seconds: float | None) -> int | None:
        """The exit code, negative for a signal; None where it has not ended by then."""
        self._socket.settimeout(seconds)
        try:
            return int(self._socket.recv(64))
        except TimeoutError:
            return None


def serve() -> None:
    """Import what takes long, then fork for each request. Returns in the forked process alone, as the program."""
    import PIL.Image  # noqa: F401
    import rich.progress  # noqa: F401
    import safetensors.torch  # noqa: F401
    import torch  # noqa: F401
    import typer  # noqa: F401

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(sys.argv[1])
    listener.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            break
        connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    order, streams, _, _ = socket.recv_fds(connection, _LONGEST, 3)
    child = os.fork()
    if child == 0:
        connection.close()
        arguments, environment, folder = json.loads(order)
        _become(arguments, environment, folder, streams)
        return
    connection.send(str(child).encode())
    for stream in streams:
        os.close(stream)
    status = os.waitpid(child, 0)[1]
    connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(arguments: list[str], environment: dict[str, str], folder: str, streams: list[int]) -> None:
    """Be the program."""
    import runpy

    import torch

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if threads := environment.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    sys.argv = ["varsr", *arguments]
    sys.path = [entry for entry in sys.path if entry]
    runpy.run_module("varsr", run_name="__main__", alter_sys=True)


def main() -> None:
    """Have the program run with the streams of this process."""
    address, *arguments = sys.argv[1:]
    code = _Request(Path(address), arguments, os.environ, Path.cwd(), [0, 1, 2]).wait(None)
    sys.exit(code if code is not None and code >= 0 else 128 - (code or 0))


if __name__ == "__main__":
    main()
