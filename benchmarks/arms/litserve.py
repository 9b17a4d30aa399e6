"""The LitServe arm as its clients see it: a server of its own processes, asked over loopback."""

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.arms.base import Made
from benchmarks.memory import descendants
from gesso.core.requests import ImageRequest

MAX_BATCH = 8
"""Pictures of a batch: with guidance 16 rows, as many as Gesso puts into one forward."""
BATCH_TIMEOUT_SECONDS = 0.02
"""How long the server waits for company: little against a picture, enough for clients that were answered together."""
_START_SECONDS = 180


class LitServeArm:
    """Starts the server and waits until it answers."""

    def __init__(self, model: str, *, threads: int, device: str) -> None:
        self._model, self._device, self._threads = model, device, threads
        self._start()

    def _start(self) -> None:
        self._port = _free_port()
        arguments = (self._model, self._threads, self._device, MAX_BATCH, BATCH_TIMEOUT_SECONDS, self._port)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.arms.litserve_server", *map(str, arguments)],
            stdout=sys.stderr,
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self._healthy():
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the LitServe server did not start; what it said is above")
            time.sleep(0.2)

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def make(self, request: ImageRequest) -> Made:
        # One connection a request: on loopback that is a fraction of a millisecond.
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
        try:
            connection.request(
                "POST", "/predict", request.model_dump_json(exclude_none=True), {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(f"LitServe answered {response.status}: {body[:300]!r}")
        answer = json.loads(body)
        pixels = np.frombuffer(base64.b64decode(answer["pixels"]), dtype=np.uint8).reshape(answer["shape"])
        return Made(pixels=pixels, rows=answer["rows"], forwards=answer["forwards"], service_seconds=answer["seconds"])

    def make_count(self, request: ImageRequest) -> list[Made]:
        """All at once, each a request of its own."""
        alone = [request.model_copy(update={"seed": (request.seed or 0) + i, "count": 1}) for i in range(request.count)]
        with ThreadPoolExecutor(len(alone)) as threads:
            return list(threads.map(self.make, alone))

    def use_threads(self, threads: int) -> None:
        if threads != self._threads:
            self._threads = threads
            self.close()
            self._start()

    def close(self) -> None:
        """End the server with all its processes: asked politely it takes longer than a measurement."""
        for process in [*descendants(self._server.pid), self._server.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._server.wait()


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]
