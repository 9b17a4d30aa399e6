"""What once went wrong in the engine, each with the smallest case that shows it."""

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import studios
import zoo
from gesso.core.errors import CancelledError, GessoError, InputError
from gesso.core.events import Event, Queued
from gesso.core.requests import ImageRequest, OutputFormat
from gesso.devices.cpu import CpuDevice
from gesso.engine import pictures
from gesso.engine.handle import Handle
from gesso.engine.hosted_model import HostedModel
from gesso.engine.make import PipelineError
from gesso.engine.model_cache import ModelCache, ModelKey
from gesso.engine.replay import Verdict, replay
from gesso.engine.streams import Dispatcher, EventStream, news
from gesso.engine.studio import Studio
from gesso.models.identity import PENDING
from toys import TIMEOUT_SECONDS


def quick(**fields: object) -> ImageRequest:
    return ImageRequest.model_validate({"prompt": "a red circle", "steps": 2, "seed": 1} | fields)


def ended(studio: Studio, handle: Handle) -> bool:
    """Whether everything of a request has ended: its events say so, and it holds no model."""
    last = list(handle.events())[-1]
    return last.kind in {"completed", "failed", "cancelled"} and all(
        place.users == 0 for place in studio._models._places.values()
    )


# --- waiting


def test_who_stops_awaiting_a_request_does_not_break_it() -> None:
    """`asyncio.wait_for` cancels what it waited for; the request, its events and its model went astray."""

    async def impatient(handle: Handle) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handle, 0.01)

    with studios.studio() as studio:
        handle = studio.submit(quick(steps=20))
        asyncio.run(impatient(handle))
        assert not handle.done()
        assert len(handle.result(60).images) == 1
        assert ended(studio, handle)


def test_each_who_awaits_gets_an_error_of_its_own() -> None:
    async def wait(handle: Handle) -> Any:
        return await handle

    async def both(handle: Handle) -> tuple[Any, Any]:
        return await asyncio.gather(wait(handle), wait(handle), return_exceptions=True)

    with studios.studio() as studio:
        handle = studio.submit(quick(steps=900))
        handle.cancel()
        first, second = asyncio.run(both(handle))
    assert isinstance(first, CancelledError)
    assert isinstance(second, CancelledError)
    assert first is not second


@pytest.mark.rough(
    "clocks",
    tried="a deadline of more seconds than a timer can wait",
    happens="refused",
    told="exit 3, one line and a hint",
)
def test_a_deadline_that_no_timer_can_wait_for_is_refused() -> None:
    with studios.studio() as studio, pytest.raises(InputError, match="deadline"):
        studio.submit(quick(deadline_seconds=1e12))


def test_events_published_at_once_by_two_requests_share_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2)
    started: list[threading.Thread] = []

    class SlowThread(threading.Thread):
        """Leaves the other request time to find that there is no thread yet."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if kwargs.get("name") == "gesso-events":
                started.append(self)
                waiting.wait(0.2)

    waiting = threading.Event()
    dispatcher = Dispatcher(lambda error: None)
    seen: list[Event] = []

    def publish(name: str) -> None:
        both.wait(TIMEOUT_SECONDS)
        dispatcher.publish(EventStream(name), seen.append, news(Queued))

    requests = [threading.Thread(target=publish, args=(name,)) for name in "ab"]
    monkeypatch.setattr(threading, "Thread", SlowThread)
    for request in requests:
        request.start()
    for request in requests:
        request.join()
    dispatcher.close()
    assert len(started) == 1
    assert {event.request_id for event in seen} == {"a", "b"}


# --- memory


@pytest.mark.parametrize("ending", ["completed", "failed", "cancelled"])
def test_a_handle_that_is_kept_keeps_no_model(ending: str) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a broken network")

    with studios.studio(max_models=1) as studio:
        studio.generate("a red circle", steps=1)
        key = next(iter(studio._models._places))
        model = cast(HostedModel, studio._models._places[key].model)
        if ending == "failed":
            worker, unet = model.worker, model.network("unet")
            worker.run(partial(unet.__dict__.update, forward=broken)).result()
            del unet
        handle = studio.submit(quick(steps=900 if ending == "cancelled" else 2))
        if ending == "cancelled":
            next(event for event in handle.events() if event.kind == "step-completed")
            handle.cancel()
        kept: list[Any] = []
        try:
            kept.append(handle.result(60))
        except GessoError as error:
            kept.append(error.fresh())
        assert ended(studio, handle)
        gone = weakref.ref(model.network("unet"))
        del model
        assert studio._models._evict(keep=0)
        gc.collect()
        assert gone() is None, f"a {ending} request holds its model"


class FakeModel:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_a_model_in_use_saves_no_other_from_leaving() -> None:
    models = {name: FakeModel() for name in "abc"}
    cache = ModelCache(max_models=2)

    def use(name: str) -> Any:
        key: ModelKey = (name, "cpu", "float32", "float32")
        load: Callable[[], HostedModel] = lambda: cast(HostedModel, models[name])  # noqa: E731
        return cache.use(key, load)

    with use("a"):
        with use("b"):
            pass
        with use("c"):
            assert [models[name].closed for name in "abc"] == [False, True, False]


def test_a_model_for_which_the_room_ran_out_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    with studios.studio() as studio:
        settle = studio._worker(CpuDevice()).residency.settle
        settled: list[Any] = []

        def full(weights: Any) -> None:
            settled.append(weights)
            if len(settled) == 2:
                raise torch.OutOfMemoryError("no room")
            settle(weights)

        monkeypatch.setattr(studio._worker(CpuDevice()).residency, "settle", full)
        with pytest.raises(torch.OutOfMemoryError):
            studio.submit(quick()).result(60)
        assert len(studio._hosting) == 0
        assert not studio._worker(CpuDevice()).residency._present


# --- errors and platforms


def test_a_pipeline_that_refuses_without_a_word_is_still_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    with studios.studio() as studio:
        studio.generate("a red circle", steps=1)
        (place,) = studio._models._places.values()
        model = cast(HostedModel, place.model)

        class Silent(model._pipeline_class):
            def __call__(self, *_: Any, **__: Any) -> Any:
                raise ValueError

        monkeypatch.setattr(model, "_pipeline_class", Silent)
        with pytest.raises(PipelineError, match="refused: ValueError"):
            studio.submit(quick()).result(60)


@pytest.mark.rough(
    "threads",
    tried="`sys.exit` in a model's own code",
    happens="its request ends, the program goes on",
    told="exit 5, one line",
)
def test_code_that_exits_fails_its_request_instead_of_ending_it_without_pictures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model's own Python code may call `sys.exit`; the request was reported as completed."""
    with studios.studio() as studio:
        monkeypatch.setattr("gesso.engine.job.make_image", lambda *_, **__: exit(3))
        with pytest.raises(GessoError, match="SystemExit 3"):
            studio.submit(quick()).result(60)


def test_systems_that_do_not_say_which_cores_may_be_used_make_pictures_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS and Windows."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delenv("GESSO_THREADS", raising=False)
    with studios.studio(threads=None) as studio:
        assert studio._worker(CpuDevice()).threads == os.cpu_count()


# --- replay and resume


def rewritten(path: Path, fingerprint: dict[str, str], resolved: dict[str, str] | None = None) -> Path:
    """The picture of `path` with a recipe that says something else, in its place."""
    recipe = pictures.read_recipe(path).recipe
    assert recipe is not None
    run = recipe.run.model_copy(update={"fingerprint": recipe.run.fingerprint.model_copy(update=fingerprint)})
    changed = recipe.model_copy(update={"run": run, "resolved": recipe.resolved.model_copy(update=resolved or {})})
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    path.write_bytes(pictures.encode(image, changed, OutputFormat.PNG))
    return path


def test_a_picture_of_a_device_that_is_not_here_is_not_comparable_and_how_far_off_it_is(tmp_path: Path) -> None:
    with studios.studio() as studio:
        (path,) = studio.submit(quick()).result(60).save(tmp_path / "gpu.png")
        rewritten(path, {"device": "cuda sm_90"}, {"device": "cuda:7"})
        report = replay(studio, path)
    assert report.verdict is Verdict.NOT_COMPARABLE
    assert "device cuda sm_90 → cpu" in report.lines[0]


def test_a_picture_made_before_its_weights_were_known_replays_identical(tmp_path: Path) -> None:
    with studios.studio() as studio:
        (path,) = studio.submit(quick()).result(60).save(tmp_path / "early.png")
        assert replay(studio, rewritten(path, {"weights": PENDING})).verdict is Verdict.IDENTICAL


@pytest.mark.rough(
    "models",
    tried="the weights replaced between a kill and the going on",
    happens="nothing of the old ones is taken over",
    told="nothing is said",
)
def test_a_journal_of_other_weights_is_not_gone_on_with(tmp_path: Path) -> None:
    """The input of the first calls is the same, whatever the weights: their old outputs were taken for the new ones."""
    folder = zoo.save("sd1", tmp_path / "model")
    asked = quick(model=str(folder), seed=3)
    with studios.studio() as studio:
        studio.submit(asked, journal=tmp_path / "journal").result(60)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor * 1.1 for name, tensor in load_file(weights).items()}, weights)
    with studios.studio() as studio:
        resumed = studio.submit(asked, journal=tmp_path / "journal").result(60)
        alone = studio.submit(asked).result(60)
    assert resumed.images[0].tobytes() == alone.images[0].tobytes()
