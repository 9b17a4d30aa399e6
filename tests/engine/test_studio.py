"""The studio as its callers see it: handles, events, cancel, order, counts, warnings."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import studios
import zoo
from gesso.core.errors import CancelledError, ClosedError, DeadlineError, InputError, UnknownNameError
from gesso.core.events import Event, ImageCompleted, PreviewReady, StepCompleted, Warned
from gesso.core.requests import ImageRequest


def quick(**fields: object) -> ImageRequest:
    return ImageRequest.model_validate({"prompt": "a red circle", "steps": 3, "seed": 1} | fields)


def test_a_prompt_becomes_a_picture_with_its_recipe() -> None:
    with studios.studio() as studio:
        result = studio.generate("a red circle", seed=1, steps=3)
    assert result.images[0].size == (128, 128)
    recipe = result.recipes[0]
    assert (recipe.asked.steps, recipe.asked.width) == (3, None)
    assert (recipe.resolved.width, recipe.resolved.sampler, recipe.run.seed) == (128, "default", 1)
    assert [entry.step for entry in recipe.run.trace if entry.component == "unet"] == [0, 1, 2]
    assert recipe.run.metering.forwards == len(recipe.run.trace)
    assert recipe.run.fingerprint.weights.startswith("sha256:")


def test_pictures_of_one_request_share_conditioning_and_differ_by_seed() -> None:
    with studios.studio() as studio:
        result = studio.generate("a red circle", seed=5, count=3, steps=3)
        second = studio.generate("a red circle", seed=6, steps=3)
    assert len({image.tobytes() for image in result.images}) == 3
    assert studios.distance(result.images[1], second.images[0]) <= 1.5 / 255
    texts = {
        entry.digest for recipe in result.recipes for entry in recipe.run.trace if entry.component == "text_encoder"
    }
    assert len(texts) == 1


def test_submit_returns_a_handle_that_many_may_wait_for() -> None:
    with studios.studio() as studio:
        handle = studio.submit(quick())
        with ThreadPoolExecutor(4) as threads:
            results = list(threads.map(lambda _: handle.result(60), range(4)))
    assert all(result is results[0] for result in results)
    assert handle.done()


def test_a_handle_can_be_awaited() -> None:
    async def run() -> int:
        with studios.studio() as studio:
            results = await asyncio.gather(*(studio.submit(quick(seed=seed)) for seed in range(3)))
            return len({result.images[0].tobytes() for result in results})

    assert asyncio.run(run()) == 3


def test_events_come_in_order_without_gaps_and_end() -> None:
    seen: list[Event] = []
    with studios.studio() as studio:
        handle = studio.submit(quick(count=2), listener=seen.append)
        events = list(handle.events())
        handle.result(60)
    for stream in (events, seen):
        assert [event.sequence for event in stream] == list(range(len(stream)))
        assert stream[0].kind == "queued"
        assert stream[-1].kind == "completed"
        steps = [event for event in stream if isinstance(event, StepCompleted) and event.image == 1]
        assert all(event.total == 3 for event in steps)
    assert {event.image for event in seen if isinstance(event, ImageCompleted)} == {0, 1}
    assert [event.completed for event in seen if isinstance(event, StepCompleted) and event.image == 0] == [1, 2, 3]


def test_previews_become_the_picture() -> None:
    with studios.studio(previews=True) as studio:
        handle = studio.submit(quick(steps=4))
        previews = [event for event in handle.events() if isinstance(event, PreviewReady)]
        handle.result(60)
    assert previews
    assert previews[-1].png.startswith(b"\x89PNG")


def test_cancelling_ends_a_request_and_no_other() -> None:
    started = threading.Event()

    def watch(event: Event) -> None:
        if isinstance(event, StepCompleted):
            started.set()

    with studios.studio() as studio:
        other = studio.submit(quick(steps=8, seed=2))
        handle = studio.submit(quick(steps=900), listener=watch)
        assert started.wait(60)
        handle.cancel()
        with pytest.raises(CancelledError):
            handle.result(60)
        assert list(handle.events())[-1].kind == "cancelled"
        assert len(other.result(60).images) == 1


def test_a_request_that_waits_for_room_can_be_cancelled() -> None:
    with studios.studio(max_images=1) as studio:
        running = studio.submit(quick(steps=900))
        waiting = studio.submit(quick())
        waiting.cancel()
        with pytest.raises(CancelledError):
            waiting.result(60)
        running.cancel()


@pytest.mark.rough(
    "clocks",
    tried="a deadline that passes while the request waits for room",
    happens="the request ends",
    told="exit 4: “Not done within …”",
)
def test_a_deadline_ends_a_request_also_while_it_waits() -> None:
    with studios.studio(max_images=1) as studio:
        running = studio.submit(quick(steps=900, deadline_seconds=0.5))
        waiting = studio.submit(quick(deadline_seconds=0.2))
        for handle, seconds in ((waiting, "0.2"), (running, "0.5")):
            with pytest.raises(DeadlineError, match=f"within {seconds} s"):
                handle.result(60)
        assert len(studio.submit(quick()).result(60).images) == 1


def test_an_urgent_request_overtakes_a_large_one() -> None:
    with studios.studio(max_images=2) as studio:
        large = studio.submit(quick(count=40, steps=6))
        next(event for event in large.events() if event.kind == "image-started")
        urgent = studio.submit(quick(priority=10, steps=6, seed=99))
        urgent.result(60)
        assert len(large.pictures) < 40
        large.cancel()


def test_requests_of_equal_priority_take_turns() -> None:
    with studios.studio(max_images=1) as studio:
        large = studio.submit(quick(count=30))
        small = studio.submit(quick(seed=7))
        small.result(60)
        assert len(large.pictures) < 30
        large.cancel()


def test_a_failing_request_keeps_the_pictures_it_has() -> None:
    with studios.studio(max_images=1) as studio:
        handle = studio.submit(quick(count=50, steps=4))
        next(event for event in handle.events() if event.kind == "image-completed")
        handle.cancel()
        with pytest.raises(CancelledError):
            handle.result(60)
        assert 1 <= len(handle.pictures) < 50


@pytest.mark.rough(
    "threads",
    tried="the studio closed while requests run and wait",
    happens="each ends within a second",
    told="`ClosedError`",
)
def test_closing_fails_what_waits_within_a_second() -> None:
    studio = studios.Studio(studios.settings(max_images=1))
    handles = [studio.submit(quick(steps=900, seed=seed)) for seed in range(3)]
    next(event for event in handles[0].events() if event.kind == "step-completed")
    began = time.monotonic()
    studio.close()
    for handle in handles:
        with pytest.raises((ClosedError, CancelledError)):
            handle.result(1)
    assert time.monotonic() - began < 5
    with pytest.raises(ClosedError):
        studio.submit(quick())


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"width": 100}, InputError, "multiples of 8.*nearest: 104x128|multiples of 8"),
        ({"steps": 0}, InputError, "steps 0"),
        ({"sampler": "Eular"}, UnknownNameError, "Eular"),
        ({"prompt": "x" * 20_001}, InputError, "20,001 characters"),
        ({"arguments": {"brush": 3}}, InputError, "no argument `brush`"),
        ({"arguments": {"num_inference_steps": 3}}, InputError, "set by Gesso"),
        ({"model": "no-such-model"}, UnknownNameError, "no-such-model"),
        ({"count": 0}, InputError, "count 0"),
        ({"seed": 2**32}, InputError, "seed"),
        ({"device": "abacus"}, Exception, "abacus"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_runs(
    fields: dict[str, object], error: type[Exception], words: str
) -> None:
    with studios.studio() as studio, pytest.raises(error, match=words):
        studio.submit(quick(**fields))


def test_a_guidance_that_has_no_effect_is_told_of() -> None:
    with studios.studio() as studio:
        handle = studio.submit(quick(negative_prompt="blue", guidance=1.0))
        result = handle.result(60)
        assert any(isinstance(event, Warned) for event in handle.events())
    assert "no effect" in result.warnings[0]
    assert result.recipes[0].run.warnings == result.warnings


def test_switching_back_to_a_resident_model_loads_nothing() -> None:
    with studios.studio() as studio:
        studio.submit(quick()).result(60)
        studio.submit(quick(model=str(zoo.saved("sd1")), width=64, height=64)).result(60)
        again = studio.submit(quick())
        again.result(60)
        assert "model-loading" not in [event.kind for event in again.events()]


def test_the_least_recently_used_model_leaves_first() -> None:
    models = [None, str(zoo.saved("sd1")), str(zoo.saved("sdxl"))]
    with studios.studio(max_models=2) as studio:

        def loads(model: str | None) -> bool:
            handle = studio.submit(quick(model=model, width=64, height=64))
            handle.result(60)
            return "model-loading" in [event.kind for event in handle.events()]

        assert [loads(model) for model in models] == [True, True, True]
        assert not loads(models[2])
        assert not loads(models[1])
        assert loads(models[0])


@pytest.mark.rough(
    "models",
    tried="weights replaced between two requests",
    happens="the second paints with the new ones",
    told="nothing is said",
)
def test_a_model_that_was_replaced_on_the_disk_is_read_anew(tmp_path: Path) -> None:
    folder = zoo.save("sd1", tmp_path / "model")
    request = quick(model=str(folder), width=64, height=64)
    with studios.studio() as studio:
        before = studio.submit(request).result(60)
        same = studio.submit(request).result(60)
        zoo.save("sd1", folder, seed=1)
        after = studio.submit(request).result(60)
    assert same.images[0].tobytes() == before.images[0].tobytes()
    assert studios.distance(after.images[0], before.images[0]) > 0.05
    assert after.recipes[0].run.fingerprint.weights != before.recipes[0].run.fingerprint.weights


def test_no_request_touches_the_global_random_state() -> None:
    before = torch.get_rng_state()
    with studios.studio() as studio:
        studio.submit(quick(sampler="Euler a", count=2)).result(60)
    assert torch.equal(before, torch.get_rng_state())


def test_a_long_prompt_is_read_to_its_end() -> None:
    words = ["circle", "square"] * 100
    with studios.studio() as studio:
        one = studio.generate(" ".join([*words, "red"]), seed=3, steps=3, guidance=8).images[0]
        other = studio.generate(" ".join([*words, "blue"]), seed=3, steps=3, guidance=8).images[0]
    assert studios.distance(one, other) > 0.02
