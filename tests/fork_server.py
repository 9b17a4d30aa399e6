"""Python processes that need not import torch and diffusers, because the one that they are forked from has.

Each still is a process of its own, with the arguments, folder, environment and streams of whoever started it, and
imports `gesso` itself. A small client takes its place where it was started: it sends these to the server through a Unix
socket, and ends as the process does. What is read from the environment while libraries are imported (`OMP_NUM_THREADS`,
`HF_HOME`), encodings, limits and signals from outside are the server's: what is about those needs a real process.
"""

import atexit
import gc
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

LIBRARIES = (
    "diffusers.StableDiffusionPipeline",  # diffusers and transformers import a class when it is first named
    "transformers.CLIPTextModel",
    "transformers.CLIPTokenizer",
    *("pydantic_settings", "rich.progress", "sqlalchemy.orm", "typer.main"),
)
"""What commands import that is not ours."""


@contextmanager
def fork_server() -> Iterator[list[str]]:
    """A server, and what begins a command line in place of `sys.executable`."""
    if not sys.platform.startswith("linux"):  # where a fork may lack what its libraries need
        yield [sys.executable]
        return
    with tempfile.TemporaryDirectory() as folder:  # the path of a socket has at most some hundred characters
        path = str(Path(folder) / "socket")
        command = [sys.executable, __file__, "serve", path]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            try:
                yield [sys.executable, "-IS", __file__, "ask", path]
            finally:
                server.stdin.close()


def ask(path: str, arguments: list[str]) -> int:
    """Have the server run `python ARGUMENTS` here, and end as it does."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        asked = json.dumps({"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}).encode()
        socket.send_fds(server, [len(asked).to_bytes(4, "big")], [0, 1, 2])
        server.sendall(asked)
        code = int(server.recv(4) or 1)
    if code < 0:
        os.kill(os.getpid(), -code)
    return code


def serve(path: str) -> None:
    """Run what clients ask for, until stdin is closed."""
    for library in LIBRARIES:
        pkgutil.resolve_name(library)
    assert len(os.listdir("/proc/self/task")) == 1, "a library has begun a thread, which a fork would be without"
    gc.freeze()  # collecting garbage touches, and so copies, the memory that is shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that attend
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                attend(connection)
            connection.close()


def attend(connection: socket.socket) -> NoReturn:
    """Fork the process that a client asks for and tell the client how it ended, while the server serves others."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, streams, _, _ = socket.recv_fds(connection, 4, 3)
    with connection.makefile("rb") as reader:
        asked = json.loads(reader.read(int.from_bytes(head, "big")))
    child = os.fork()
    if child == 0:
        connection.close()
        leave(lambda: become(streams, **asked))
    for stream in streams:
        os.close(stream)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    connection.sendall(str(code).encode())
    os._exit(0)


def leave(program: Callable[[], None]) -> NoReturn:
    """End as `program` does. What Python does at the end beyond this is to take all modules apart, which costs seconds
    where most of the memory is shared with the parent."""
    try:
        program()
        code: object = 0
    except SystemExit as left:
        code = left.code
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]: waits for threads
    atexit._run_exitfuncs()
    if isinstance(code, str):
        print(code, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def become(streams: list[int], arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Be `python ARGUMENTS` in `folder`: of the forms `-m MODULE`, `-c PROGRAM`, `-` and `FILE`."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    first, *rest = arguments
    if first == "-m":
        sys.argv, sys.path[0] = rest, ""
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first in {"-c", "-"}:
        program = rest.pop(0) if first == "-c" else sys.stdin.read()
        sys.argv, sys.path[0] = [first, *rest], ""
        sys.modules["__main__"] = module = types.ModuleType("__main__")
        exec(compile(program, "<string>", "exec"), module.__dict__)
    else:
        sys.argv, sys.path[0] = arguments, os.path.dirname(first)
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    role, path, *arguments = sys.argv[1:]
    if role == "serve":
        serve(path)
    else:
        sys.exit(ask(path, arguments))
