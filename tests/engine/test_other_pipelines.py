"""Pipelines that read the prompt themselves: their bytes alone, their company, their replay, their end.

Each is a class of diffusers as it is, made thin. What is tried of the first-class families elsewhere is tried of these
here, on one crowd of pictures for each kind.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import studios
import zoo
from gesso.cli.models import tried_families
from gesso.core.errors import CancelledError, InputError
from gesso.core.recipe import Recipe
from gesso.core.requests import ImageRequest
from gesso.engine.facts import facts_of
from gesso.engine.handle import Result
from gesso.engine.replay import Verdict, replay
from gesso.engine.studio import Studio
from gesso.models.folder import describe
from gesso.models.verified import VERIFIED, Guidance

KNOWN = [kind for kind in zoo.OTHERS if kind not in zoo.UNKNOWN]
ALIKE: dict[str, dict[str, Any]] = {"kandinsky3": {"prompt": "a red circle", "guidance": 3.0}}
"""What must be equal for pictures to meet: this one cuts the text to the longest of prompt and negative prompt."""
COUNT = 5


def arguments(kind: str) -> dict[str, Any]:
    """What a request says besides, to get pictures of 64 px."""
    return {name: value for name, value in zoo.ARGUMENTS.get(kind, {}).items() if value is not None}


def requests(kind: str, count: int = COUNT, **fields: Any) -> list[ImageRequest]:
    return studios.mixed_requests(
        zoo.saved(kind), count, **{"arguments": arguments(kind), **ALIKE.get(kind, {}), **fields}
    )


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """The same requests one after the other and all at once."""

    kind: str
    studio: Studio
    requests: list[ImageRequest]
    alone: list[Result]
    together: list[Result]

    @property
    def recipes(self) -> list[Recipe]:
        return [result.recipes[0] for result in self.together]


@pytest.fixture(scope="module", params=KNOWN)
def crowd(request: pytest.FixtureRequest) -> Iterator[Crowd]:
    kind = request.param
    with studios.studio() as studio:
        asked = requests(kind)
        alone = [studio.submit(one).result(60) for one in asked]
        yield Crowd(kind=kind, studio=studio, requests=asked, alone=alone, together=studios.run_together(studio, asked))


def plain(kind: str, request: ImageRequest) -> Image.Image:
    """What diffusers alone makes of a request."""
    pipeline: Any = zoo.built(kind)
    with torch.no_grad():
        return pipeline(
            prompt=request.prompt,
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            generator=torch.Generator("cpu").manual_seed(request.seed or 0),
            **zoo.ARGUMENTS.get(kind, {}),
        ).images[0]


def company(recipes: list[Recipe]) -> Counter[str]:
    """Rows of others beside a picture's own, by the network."""
    return Counter(
        {
            name: sum(
                segment.batch_rows - segment.rows
                for recipe in recipes
                for entry in recipe.run.trace
                if entry.component == name
                for segment in entry.segments
            )
            for name in {entry.component for recipe in recipes for entry in recipe.run.trace}
        }
    )


def test_a_lone_picture_has_the_bytes_of_plain_diffusers(crowd: Crowd) -> None:
    for request, result in zip(crowd.requests[:2], crowd.alone, strict=False):  # one guided, one not
        assert result.images[0].tobytes() == plain(crowd.kind, request).tobytes()
    assert not company([result.recipes[0] for result in crowd.alone]).total()


def test_together_they_stay_near_their_solo_runs(crowd: Crowd) -> None:
    for alone, together in zip(crowd.alone, crowd.together, strict=True):
        assert studios.distance(alone.images[0], together.images[0]) <= 1.5 / 255  # rounding may fall either way
        assert studios.mean_distance(alone.images[0], together.images[0]) <= 1e-3


def test_networks_with_row_data_have_company_and_the_others_run_alone(crowd: Crowd) -> None:
    found = company(crowd.recipes)
    pipeline = describe(zoo.saved(crowd.kind)).pipeline_class
    [networks] = [entry["networks"] for entry in tried_families() if entry["pipeline"] == pipeline]
    assert found.keys() == {network["name"] for network in networks}
    assert not any(found[network["name"]] for network in networks if not network["merges"])
    denoiser = next(name for name in ("transformer", "unet") if name in found)
    assert found[denoiser] > 0


def test_pictures_of_a_crowd_replay_identical(crowd: Crowd, tmp_path: Path) -> None:
    busiest = max(crowd.together, key=lambda result: studios.foreign_rows(result.recipes[0]))
    assert studios.foreign_rows(busiest.recipes[0]) > 0
    report = replay(crowd.studio, busiest.save(tmp_path / "picture.png")[0])
    assert report.verdict is Verdict.IDENTICAL, report.lines


def test_exact_pictures_have_the_same_bytes_alone_and_in_company(crowd: Crowd) -> None:
    asked = requests(crowd.kind, 3, exact=True)
    alone = [crowd.studio.submit(one).result(60) for one in asked]
    together = studios.run_together(crowd.studio, asked)
    assert [one.images[0].tobytes() for one in alone] == [one.images[0].tobytes() for one in together]


def test_they_can_be_cancelled(crowd: Crowd) -> None:
    [endless] = requests(crowd.kind, 1, steps=50 if crowd.kind == "lcm" else 900)  # the most that it takes
    handle = crowd.studio.submit(endless)
    next(event for event in handle.events() if event.kind == "step-completed")
    handle.cancel()
    with pytest.raises(CancelledError):
        handle.result(30)


def test_what_a_pipeline_does_not_take_is_refused(crowd: Crowd) -> None:
    facts = facts_of(describe(zoo.saved(crowd.kind)))
    record = VERIFIED[facts.pipeline]
    [given] = requests(crowd.kind, 1)
    with pytest.raises(InputError, match="takes no argument `sharpness`"):
        crowd.studio.submit(given.model_copy(update={"arguments": {"sharpness": 1}})).result(30)
    with pytest.raises(InputError, match=f"multiples of {facts.size_multiple_px}"):
        crowd.studio.submit(given.model_copy(update={"width": facts.size_multiple_px + 4})).result(30)
    negative = given.model_copy(update={"negative_prompt": "blue", "guidance": 4.0})
    if record.negative_prompt:
        without = crowd.studio.submit(given.model_copy(update={"guidance": 4.0})).result(60)
        assert crowd.studio.submit(negative).result(60).images[0].tobytes() != without.images[0].tobytes()
    else:
        with pytest.raises(InputError, match="does not take a negative prompt"):
            crowd.studio.submit(negative).result(30)


def test_guidance_does_what_the_table_says(crowd: Crowd) -> None:
    record = VERIFIED[describe(zoo.saved(crowd.kind)).pipeline_class]
    [low, high] = [crowd.studio.submit(requests(crowd.kind, 1, guidance=scale)[0]).result(60) for scale in (1.0, 6.0)]
    assert low.images[0].tobytes() != high.images[0].tobytes()

    def rows(result: Result) -> int:
        trace = result.recipes[0].run.trace
        return sum(s.rows for e in trace if e.component in {"transformer", "unet"} for s in e.segments)

    assert rows(high) == rows(low) * (2 if record.guidance is Guidance.SECOND_PASS else 1)
