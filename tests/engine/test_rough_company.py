"""Crowds, listeners that misbehave, forks, and endings in the wrong moment."""

import asyncio
import os
import random
import sys
import threading
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import studios
import zoo
from gesso.core.errors import CancelledError, ClosedError, GessoError
from gesso.core.events import Event
from gesso.engine.handle import Handle, Result
from gesso.engine.studio import Studio
from rough import python, quick

CROWD = 200


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.rough(
    "crowds",
    tried="200 requests at once from 200 threads; a third of them cancelled at random moments",
    happens="each ends once, with its own picture or as cancelled; threads and memory are given back",
    told="`CancelledError` for those who cancelled",
)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_two_hundred_requests_at_once_are_neither_lost_nor_doubled() -> None:
    chance = random.Random(7)
    patience = {seed: chance.uniform(0, 1.5) for seed in range(0, CROWD, 3)}
    with studios.studio() as studio:
        studio.submit(quick()).result(60)
        sample = {seed: studio.submit(quick(seed=seed)).result(60).images[0] for seed in (1, 100, 199)}
        before, threads = resident_mib(), threading.active_count()

        def ask(seed: int) -> tuple[Handle, Result | None]:
            handle = studio.submit(quick(seed=seed))
            if seed in patience:
                time.sleep(patience[seed])
                handle.cancel()
            try:
                return handle, handle.result(100)
            except CancelledError:
                return handle, None

        with ThreadPoolExecutor(max_workers=CROWD) as crowd:
            ended = list(crowd.map(ask, range(CROWD)))
        grown = resident_mib() - before
        assert studio._handles == {}
        assert len({handle.id for handle, _ in ended}) == CROWD
        for seed, (handle, result) in enumerate(ended):
            last = [event.kind for event in handle.events()][-1]
            assert last == ("cancelled" if result is None else "completed")
            assert seed in patience or result is not None
            if result is not None:
                assert [recipe.run.seed for recipe in result.recipes] == [seed]
        for seed, image in sample.items():
            made = ended[seed][1]
            assert made is not None
            assert studios.distance(made.images[0], image) <= 1.5 / 255
        deadline = time.perf_counter() + 10
        while threading.active_count() > threads and time.perf_counter() < deadline:
            time.sleep(0.01)
        assert threading.active_count() <= threads
    assert grown < 150


@pytest.mark.rough(
    "crowds",
    tried="200 requests from one thread, all cancelled at once; then one more",
    happens="all end within seconds, and the one is painted",
    told="`CancelledError`",
)
def test_a_crowd_that_leaves_at_once_makes_room() -> None:
    with studios.studio() as studio:
        handles = [studio.submit(quick(seed=seed, steps=200)) for seed in range(CROWD)]
        begun = time.perf_counter()
        for handle in handles:
            handle.cancel()
        for handle in handles:
            with pytest.raises(CancelledError):
                handle.result(30)
        assert studio.submit(quick()).result(30).images
        assert time.perf_counter() - begun < 30


@pytest.mark.rough(
    "crowds",
    tried="requests from many threads while others close the studio",
    happens="each is refused or ended as closed; nobody waits for ever",
    told="`ClosedError`",
)
def test_closing_under_a_crowd_ends_everybody() -> None:
    studio = Studio(studios.settings())
    studio.submit(quick()).result(60)

    def ask(seed: int) -> str:
        try:
            studio.submit(quick(seed=seed, steps=20)).result(30)
        except GessoError as error:
            return type(error).__name__
        return "painted"

    with ThreadPoolExecutor(max_workers=48) as crowd:
        asking = [crowd.submit(ask, seed) for seed in range(40)]
        time.sleep(0.05)
        closing = [crowd.submit(studio.close) for _ in range(8)]
        for closed in closing:
            closed.result(30)
        ended = Counter(each.result(30) for each in asking)
    assert set(ended) <= {"ClosedError", "painted"}
    assert ended["ClosedError"]


# --- listeners


@pytest.mark.rough(
    "threads",
    tried="a listener that raises `KeyboardInterrupt` or `SystemExit`",
    happens="reported in the log; its request and the listeners of others go on",
    told="a line in the log",
)
@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, ValueError])
def test_a_listener_that_would_end_the_program_silences_nobody(
    raised: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    def bad(event: Event) -> None:
        raise raised

    with studios.studio() as studio:
        assert studio.submit(quick(), listener=bad).result(60).images
        assert studio.submit(quick(), listener=lambda event: heard.append(event.kind)).result(60).images
    assert heard[-1] == "completed"
    assert "A listener failed" in caplog.text


@pytest.mark.rough(
    "threads",
    tried="a listener that never returns",
    happens="requests go on, its own too; other listeners wait behind it; closing waits ten seconds at most",
    told="nothing is said",
)
def test_a_listener_that_blocks_blocks_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()
    try:
        studio = Studio(studios.settings())

        def blocking(event: Event) -> None:
            let_go.wait()

        assert studio.submit(quick(), listener=blocking).result(60).images
        assert studio.submit(quick()).result(60).images
        dispatching = studio._dispatcher._thread
        assert dispatching is not None
        waited: list[float | None] = []
        monkeypatch.setattr(dispatching, "join", lambda timeout=None: waited.append(timeout))
        studio.close()
        assert waited == [10]
    finally:
        let_go.set()


@pytest.mark.rough(
    "threads",
    tried="a listener that closes the studio, and one that waits for the result",
    happens="the request ends as closed; the one that waits gets its result",
    told="`ClosedError`",
)
def test_a_listener_may_close_the_studio_or_wait_for_the_result(caplog: pytest.LogCaptureFixture) -> None:
    got: list[Any] = []
    handles: list[Handle] = []
    with studios.studio() as studio:
        known = threading.Event()

        def wait(event: Event) -> None:
            if not got and known.wait(30):
                got.append(handles[0].result(30))

        handles.append(studio.submit(quick(), listener=wait))
        known.set()
        assert handles[0].result(60).images
        closing = studio.submit(
            quick(steps=300), listener=lambda event: studio.close() if event.kind == "step-completed" else None
        )
        with pytest.raises(ClosedError):
            closing.result(30)
    assert got[0].images
    assert "A listener failed" not in caplog.text


# --- waiting


@pytest.mark.rough(
    "threads",
    tried="one handle awaited by many threads and coroutines, some of which give up",
    happens="the request goes on; everybody else gets the same result",
    told="`TimeoutError` for those who give up",
)
def test_a_handle_is_awaited_by_many_some_of_whom_give_up() -> None:
    with studios.studio() as studio:
        handle = studio.submit(quick(steps=120))

        async def awaited() -> Result:
            return await handle

        async def crowd() -> tuple[list[Result], bool]:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(awaited(), 0.01)
            leaving = asyncio.create_task(awaited())
            await asyncio.sleep(0)
            leaving.cancel()
            return await asyncio.gather(*(awaited() for _ in range(20))), leaving.cancelled()

        with pytest.raises(TimeoutError):
            handle.result(0.001)
        with ThreadPoolExecutor(max_workers=9) as threads:
            loop = threads.submit(asyncio.run, crowd())
            waiting = [threads.submit(handle.result, 60) for _ in range(8)]
            results = [each.result(60) for each in waiting]
            awaiting, gave_up = loop.result(60)
    assert gave_up
    assert all(result is results[0] for result in [*results, *awaiting])


@pytest.mark.rough(
    "threads",
    tried="results, recipes and events used after the studio was closed; a second close; a request to it",
    happens="all as before; the request is refused",
    told="`ClosedError`: “The studio is closed”",
)
def test_what_was_made_outlives_the_studio(tmp_path: Path) -> None:
    with studios.studio() as studio:
        handle = studio.submit(quick())
        result = handle.result(60)
    studio.close()
    assert len(result.save(tmp_path / "later")) == 1
    assert handle.pictures[0].recipe == result.recipes[0]
    assert [event.kind for event in handle.events()][-1] == "completed"
    with pytest.raises(ClosedError, match="The studio is closed"):
        studio.submit(quick())


@pytest.mark.rough(
    "threads",
    tried="the studio closed while it reads a model",
    happens="the request ends at once; the closing waits for the reading",
    told="`ClosedError`",
)
def test_closing_while_a_model_is_read_ends_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    from gesso.models import load as loading
    from gesso.models import network

    reading, go_on = threading.Event(), threading.Event()
    load_network = network.load_network

    def slowly(*arguments: Any, **options: Any) -> Any:
        reading.set()
        assert go_on.wait(30)
        return load_network(*arguments, **options)

    monkeypatch.setattr(loading, "load_network", slowly)
    studio = Studio(studios.settings())
    handle = studio.submit(quick())
    assert reading.wait(60)
    with ThreadPoolExecutor() as threads:
        closing = threads.submit(studio.close)
        while not studio._closed:
            time.sleep(0.001)
        time.sleep(0.05)
        assert not closing.done()
        go_on.set()
        closing.result(30)
    with pytest.raises(ClosedError):
        handle.result(5)


# --- processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.rough(
    "threads",
    tried="`os.fork` after a studio was used, while it paints; the child asks the studio, and closes it",
    happens="the child is refused at once instead of waiting for threads that it lacks; the parent notices nothing",
    told="`ClosedError`: “The studio belongs to the process that this one was forked from”",
)
def test_a_forked_process_is_refused_and_the_parent_paints_on() -> None:
    with studios.studio() as studio:
        expected = studio.submit(quick(steps=30)).result(60).images[0]
        running = studio.submit(quick(steps=30))
        next(event for event in running.events() if event.kind == "step-completed")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 and later warn of forks beside threads: that is the attack
            child = os.fork()
        if child == 0:
            code = 1
            try:
                studio.submit(quick())
            except ClosedError as error:
                code = 0 if "forked" in error.message and error.hint else 2
            finally:
                studio.close()
                os._exit(code)
        ended, status = 0, 0
        deadline = time.perf_counter() + 20
        while not ended and time.perf_counter() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            time.sleep(0.01)
        if not ended:
            os.kill(child, 9)
            os.waitpid(child, 0)
        assert ended, "the child hangs"
        assert os.waitstatus_to_exitcode(status) == 0
        assert running.result(60).images[0].tobytes() == expected.tobytes()


FINDS_NO_MEMORY = """
import os, resource
from pathlib import Path
from gesso import ImageRequest, Studio
from gesso.core.errors import ResourceError

request = ImageRequest(prompt="a red circle", seed=1, steps=2)
limits = resource.getrlimit(resource.RLIMIT_AS)
with Studio() as studio:
    expected = studio.submit(request).result(60).images[0]
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 8 * 2**20, limits[1]))
    try:
        studio.submit(request.model_copy(update={"width": 768, "height": 768})).result(60)
    except ResourceError as error:
        assert "memory" in error.message.lower(), error
        assert error.hint
    else:
        raise SystemExit("it was painted")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert studio.submit(request).result(60).images[0].tobytes() == expected.tobytes()
"""

ENDS_IN_THE_MIDDLE = """
import sys
from gesso import ImageRequest, Studio
studio = Studio()
fields = {"model": sys.argv[1], "width": 64, "height": 64}
handles = [studio.submit(ImageRequest(prompt="x", steps=900, seed=seed, **fields)) for seed in range(6)]
for event in handles[0].events():
    if event.kind == "step-completed" and event.completed == 3:
        raise SystemExit(7)
"""


@pytest.mark.rough(
    "threads",
    tried="the program ends with six requests in flight and a studio that nobody closed",
    happens="it ends at once, with its own exit code; before, the interpreter aborted (signal 6)",
    told="the program's exit code",
)
def test_a_program_may_end_in_the_middle_of_requests() -> None:
    ran = python(ENDS_IN_THE_MIDDLE, zoo.saved("sd1"))
    assert (ran.returncode, ran.stdout) == (7, b"")
    assert b"Traceback" not in ran.stderr
    assert b"terminate" not in ran.stderr


@pytest.mark.rough(
    "threads",
    tried="the system gives no more threads",
    happens="the picture is made on the thread that asked",
    told="nothing is said",
)
def test_without_threads_pictures_are_made_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "gesso-image":
            raise RuntimeError("can't start new thread")
        start(thread)

    with studios.studio() as studio:
        expected = studio.submit(quick(count=2)).result(60)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        made = studio.submit(quick(count=2)).result(60)
    assert len(made.images) == 2
    for image, picture in zip(made.images, expected.images, strict=True):
        assert studios.distance(image, picture) <= 1.5 / 255


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is kept by Linux alone")
@pytest.mark.rough(
    "crowds",
    tried="memory that runs out in the middle of a request (`RLIMIT_AS`)",
    happens="that request ends; the next, smaller one is painted",
    told="exit 4: “Out of memory on `cpu` while running …”",
)
def test_a_request_that_finds_no_memory_ends_alone() -> None:
    ran = python(FINDS_NO_MEMORY)  # a process of its own: one that has run long has free memory within its limit
    assert ran.returncode == 0, ran.stderr.decode()
