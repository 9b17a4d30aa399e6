"""Real pipelines on hosted networks: alone they have the bytes of plain diffusers, together they stay within 1e-3."""

import random
from typing import Any

import pytest
import torch

import studios
import zoo
from gesso.core.requests import ImageRequest
from gesso.engine.facts import facts_of
from gesso.engine.samplers.scheduler import build
from gesso.models.folder import describe

DIFFUSION = [
    ("default", "automatic"),
    ("Euler", "automatic"),
    ("Euler a", "automatic"),
    ("DPM++ 2M", "karras"),
    ("Heun", "karras"),
]
FLOW = [("default", "automatic"), *(("Euler", schedule) for schedule in ("automatic", "karras", "exponential", "beta"))]
SAMPLERS = {
    **{"sd1": DIFFUSION, "sd2": DIFFUSION[:2], "sdxl": DIFFUSION, "sd3": FLOW, "flux-dev": FLOW},
    **{"z-image": FLOW, "flux2": FLOW[::2], "flux2-klein-base": FLOW[:2], "qwen-image": FLOW[:2]},
}
CASES = [(kind, sampler, schedule) for kind, pairs in SAMPLERS.items() for sampler, schedule in pairs]


def plain(kind: str, prompt: str, sampler: str, schedule: str, *, guidance: float, seed: int, steps: int) -> Any:
    facts = facts_of(describe(zoo.saved(kind)))
    pipeline: Any = zoo.build(kind)
    embeddings = studios.plain_embeddings(pipeline, kind, prompt, guidance=guidance)
    scheduler = build(
        sampler,
        schedule,
        scheduler_class=type(pipeline.scheduler),
        scheduler_config=dict(pipeline.scheduler.config),
        generator=None,
    )
    if sampler == "default":
        scheduler = pipeline.scheduler  # the folder's own object, untouched by us
    return studios.plain_image(
        kind,
        embeddings,
        scheduler=scheduler,
        seed=seed,
        num_inference_steps=steps,
        **{facts.guidance_argument: guidance},
        width=64,
        height=64,
    )


@pytest.mark.parametrize(("kind", "sampler", "schedule"), CASES)
def test_a_lone_picture_has_the_bytes_of_plain_diffusers(kind: str, sampler: str, schedule: str) -> None:
    expected = plain(kind, "a red circle", sampler, schedule, guidance=4.0, seed=11, steps=4)
    with studios.studio() as studio:
        result = studio.generate(
            "a red circle",
            model=str(zoo.saved(kind)),
            sampler=sampler,
            schedule=schedule,
            guidance=4.0,
            seed=11,
            steps=4,
            width=64,
            height=64,
        )
    assert result.images[0].tobytes() == expected.tobytes()
    assert studios.foreign_rows(result.recipes[0]) == 0


ARRIVALS = {
    **dict.fromkeys(("sd1", "sd2", "sdxl", "sd3", "flux-dev"), 5),
    **dict.fromkeys(("z-image", "flux2", "flux2-klein-base", "qwen-image"), 2),
}


@pytest.mark.parametrize("kind", ARRIVALS)
def test_pictures_made_together_share_forwards_and_stay_near_their_solo_runs(kind: str) -> None:
    requests = studios.mixed_requests(zoo.saved(kind), 9)
    with studios.studio() as studio:
        alone = [studio.submit(request).result(60).images[0] for request in requests]
        for order in range(ARRIVALS[kind]):  # each time others come first
            arrivals = random.Random(order).sample(range(len(requests)), len(requests))
            together = studios.run_together(studio, [requests[index] for index in arrivals])
            for index, result in zip(arrivals, together, strict=True):
                picture = result.images[0]
                # A pixel is 8 bits wide, so one level is 4e-3 and rounding may fall either way; on the average it
                # falls as often as the difference is large.
                assert studios.distance(alone[index], picture) <= 1.5 / 255
                assert studios.mean_distance(alone[index], picture) <= 1e-3
            assert sum(studios.foreign_rows(result.recipes[0]) for result in together) > 0


@pytest.mark.parametrize("kind", ["sd1", "sd3", "flux-schnell", "z-image", "flux2-klein", "qwen-image"])
def test_exact_pictures_have_the_same_bytes_alone_and_in_company(kind: str) -> None:
    requests = studios.mixed_requests(zoo.saved(kind), 6, exact=True, guidance=None)
    with studios.studio() as studio:
        alone = [studio.submit(request).result(60).images[0] for request in requests]
        together = studios.run_together(studio, requests)
    assert [image.tobytes() for image in alone] == [result.images[0].tobytes() for result in together]


def test_two_models_side_by_side_do_not_see_each_other() -> None:
    first, second = zoo.saved("sd1"), zoo.saved("sdxl")
    requests = [
        request
        for pair in zip(studios.mixed_requests(first, 4), studios.mixed_requests(second, 4), strict=True)
        for request in pair
    ]
    with studios.studio() as studio:
        alone = [studio.submit(request).result(60).images[0] for request in requests]
        together = studios.run_together(studio, requests)
    for solo, result in zip(alone, together, strict=True):
        assert studios.distance(solo, result.images[0]) <= 1.5 / 255


def test_a_pipeline_that_nobody_tried_runs_as_its_folder_says_and_alone(caplog: pytest.LogCaptureFixture) -> None:
    [kind] = zoo.UNKNOWN
    requests = studios.mixed_requests(zoo.saved(kind), 3)
    with studios.studio() as studio:
        alone = [studio.submit(request).result(60) for request in requests]
        together = studios.run_together(studio, requests)
    unhosted: Any = zoo.built(kind)
    with torch.no_grad():
        expected = unhosted(
            requests[0].prompt,
            width=64,
            height=64,
            num_inference_steps=requests[0].steps,
            guidance_scale=requests[0].guidance,
            generator=torch.Generator("cpu").manual_seed(requests[0].seed or 0),
        ).images[0]
    assert alone[0].images[0].tobytes() == expected.tobytes()
    for one, other in zip(alone, together, strict=True):
        assert one.recipes[0].resolved.family == "other"
        assert studios.distance(one.images[0], other.images[0]) <= 1.5 / 255
        trace = other.recipes[0].run.trace
        assert all(s.batch_rows == s.rows for e in trace if e.component == "transformer" for s in e.segments)
    assert caplog.text.count("`BriaTransformer2DModel` has no row data: its calls run alone") == 1


def test_a_pipeline_that_makes_another_size_than_asked_says_so() -> None:
    asked = ImageRequest(
        model=str(zoo.saved("hunyuan-dit")),
        prompt="a red circle",
        seed=1,
        steps=1,
        width=64,
        height=64,
        guidance=1.0,
        arguments={"use_resolution_binning": True},
    )
    with studios.studio() as studio:
        result = studio.submit(asked).result(100)
    assert result.images[0].size == (1024, 1024)
    assert any("made 1024x1024 px, asked for 64x64" in line for line in result.recipes[0].run.warnings)
