"""Pictures of one request that each read a text of their own, chosen by their seeds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import inversions
import studios
import zoo
from effects import Effect
from gesso.core.errors import InputError, UnknownNameError
from gesso.core.requests import ImageRequest
from gesso.engine.handle import Result
from gesso.engine.replay import Verdict, replay
from gesso.engine.studio import Studio
from gesso.primer.reading import UnreadableError, read

COLOURS = ("red", "blue", "green", "purple")
PROMPT = "a {red|blue|green} {cat|dog} on __ground__"


@pytest.fixture
def studio() -> Iterator[Studio]:
    Path("wildcards").mkdir()
    Path("wildcards/ground.txt").write_text("snow\nsand\n[sand:grass:2]\n")
    Path("styles.csv").write_text('name,prompt,negative_prompt\nsoft,"soft {prompt}","{noise|blur}"\n')
    with studios.studio() as opened:
        yield opened


def request(prompt: str = PROMPT, **fields: Any) -> ImageRequest:
    given: dict[str, Any] = {
        "model": str(zoo.saved("sd1")),
        "seed": 7,
        "steps": 2,
        "guidance": 3.0,
        "width": zoo.PICTURE_PX,
        "height": zoo.PICTURE_PX,
    }
    return ImageRequest(prompt=prompt, **given | fields)


def colours(image: Image.Image) -> set[str | None]:
    """Of the things in a picture of the primer's world."""
    try:
        return {thing.colour for thing in read(image).things}
    except UnreadableError:
        return set()


def made(studio: Studio, *arguments: Any, journal: Path | None = None, **fields: Any) -> Result:
    return studio.submit(request(*arguments, **fields), journal=journal).result(100)


def test_each_picture_reads_what_its_own_seed_chooses_and_is_made_again_of_that(studio: Studio) -> None:
    result = made(studio, count=4, styles=("soft",))
    texts = [recipe.resolved.prompt for recipe in result.recipes]
    assert len(set(texts)) > 1
    assert not any(sign in text for text in texts for sign in "{|_")
    assert {recipe.resolved.negative_prompt for recipe in result.recipes} == {"noise", "blur"}
    assert {recipe.asked.prompt for recipe in result.recipes} == {PROMPT}
    third = made(studio, seed=9, styles=("soft",))
    assert third.recipes[0].resolved.prompt == texts[2]
    Path("wildcards/ground.txt").write_text("lava\n")
    Path("styles.csv").unlink()
    for picture in result.pictures[2:]:
        again = studio.submit(picture.recipe.again()).result(100)
        assert studios.distance(again.images[0], picture.image) < 1e-2
        assert again.recipes[0].resolved.prompt == picture.recipe.resolved.prompt
    plain = made(studio, texts[2], seed=9, negative_prompt=result.recipes[2].resolved.negative_prompt)
    assert studios.distance(plain.images[0], result.images[2]) < 1e-2


def test_pictures_show_the_colour_that_a_wildcard_chose_for_them(studio: Studio, effect: Effect) -> None:
    Path("wildcards/colour.txt").write_text("\n".join(COLOURS))
    asked = ImageRequest(prompt="a large __colour__ heart on a white background", count=8, seed=1, steps=8)
    result = studio.submit(asked).result(100)
    chosen = [recipe.resolved.prompt.split()[2] for recipe in result.recipes]
    assert {*chosen} <= {*COLOURS}
    assert len({*chosen}) >= 3
    shown = [colour in colours(image) for colour, image in zip(chosen, result.images, strict=True)]
    effect(
        "Pictures that show the colour that a wildcard chose for them, as their recipes say; share of 8",
        sum(shown) / len(shown),
        least=0.8,
        pictures=dict(zip(chosen, result.images, strict=True)),
    )


def test_a_style_is_written_around_the_prompt(studio: Studio, effect: Effect) -> None:
    Path("styles").mkdir()
    Path("styles/places.yaml").write_text("on teal:\n  prompt: a large {prompt} on a teal background\n")
    asked = ImageRequest(prompt="red heart", styles=("on teal",), count=4, seed=1, steps=8)
    result = studio.submit(asked).result(100)
    assert result.recipes[0].resolved.prompt == "a large red heart on a teal background"
    readings = [read(image) for image in result.images]
    effect(
        "`red heart` in a style of `a large {prompt} on a teal background` shows both; share of 4 pictures",
        sum(reading.background == "teal" and reading.things[0].colour == "red" for reading in readings) / len(readings),
        least=0.75,
        pictures={"with the style": result.images[0]},
    )


def test_a_name_that_is_near_is_told_also_where_a_file_is_broken(studio: Studio) -> None:
    Path("styles").mkdir()
    Path("styles/broken.yaml").write_text("prompt: [")
    Path("wildcards/broken.yaml").write_text("a: [")
    for fields, near in (({"styles": ("softt",)}, "nearest: soft"), ({"prompt": "__grond__"}, "nearest: ground")):
        with pytest.raises(UnknownNameError) as unknown:
            studio.resolve(request(**{"prompt": "a cat", **fields}))
        assert near in str(unknown.value.hint)
        assert "broken.yaml` could not be read" in str(unknown.value.hint)


def test_a_prompt_in_json_stays_plain_text_in_a_style(studio: Studio) -> None:
    Path("styles").mkdir()
    Path("styles/ink.yaml").write_text('prompt: "{prompt}, ink"\n')
    resolved = studio.resolve(request('{"scene": "a [red] cat"}', styles=("ink",)))
    assert resolved.prompt == '{"scene": "a [red] cat"}, ink'
    assert resolved.dialect == "plain"


def test_a_picture_is_replayed_with_its_own_text(studio: Studio, tmp_path: Path) -> None:
    result = made(studio, count=3)
    for path in result.save(tmp_path)[1:]:
        assert replay(studio, path).verdict is Verdict.IDENTICAL


def test_another_prompt_of_a_picture_is_chosen_by_its_seed_within_its_styles(studio: Studio) -> None:
    recipe = made(studio, seed=11, styles=("soft",)).recipes[0]
    again = studio.resolve(recipe.again(prompt="a {hat|coat|shoe}"))
    assert again.prompt == studio.resolve(request("a {hat|coat|shoe}", seed=11, styles=("soft",))).prompt
    assert again.negative_prompt == recipe.resolved.negative_prompt
    other = studio.resolve(recipe.again(seed=12))
    assert other.prompt == recipe.resolved.prompt


def test_texts_are_chosen_by_a_seed_of_their_own_and_variations_read_the_same(studio: Studio) -> None:
    def texts(**fields: Any) -> list[str]:
        resolved = studio.resolve(request(count=4, **fields))
        return [resolved.for_image(index).prompt for index in range(4)]

    assert texts() == texts(seed=99, wildcard_seed=7)
    assert len(set(texts(variation_strength=0.1))) == 1
    recipe = made(studio, wildcard_seed=3, count=2, seed=1).recipes[1]
    assert studio.resolve(recipe.again(negative_prompt="dark")).prompt == recipe.resolved.prompt


def test_pictures_that_read_the_same_share_their_conditioning(studio: Studio) -> None:
    result = made(studio, "a {red|blue} cat", count=6, sampler="Euler")
    traces: dict[str, set[str]] = {}
    for recipe in result.recipes:
        (encoded,) = (entry for entry in recipe.run.trace if entry.component == "text_encoder")
        traces.setdefault(recipe.resolved.prompt, set()).add(encoded.digest)
    assert [len(digests) for digests in traces.values()] == [1, 1]
    assert sum(recipe.run.metering.forwards for recipe in result.recipes) == 2 + 6 * 3


def test_a_job_that_goes_on_reads_what_was_chosen_when_it_began(studio: Studio) -> None:
    first = made(studio, count=2, exact=True, seed=None, journal=Path("journal"))
    Path("wildcards/ground.txt").write_text("lava\n")
    again = made(studio, count=2, exact=True, seed=None, journal=Path("journal"))
    assert [recipe.resolved.prompt for recipe in again.recipes] == [recipe.resolved.prompt for recipe in first.recipes]
    assert [image.tobytes() for image in again.images] == [image.tobytes() for image in first.images]
    assert sum(recipe.run.metering.forwards for recipe in again.recipes) == 0


def test_prompts_of_a_second_pass_are_chosen_and_styled_as_those_of_the_first(studio: Studio) -> None:
    def seconds(result: Result) -> list[tuple[str | None, str | None]]:
        passes = [recipe.resolved.for_image(recipe.run.index).hires for recipe in result.recipes]
        return [(one.prompt, one.negative_prompt) for one in passes if one is not None]

    hires = {"scale": 1.5, "steps": 1, "prompt": f"{PROMPT}, sharp", "negative_prompt": "{a|b}"}
    result = made(studio, count=4, styles=("soft",), hires=hires)
    first = [recipe.resolved.prompt for recipe in result.recipes]
    assert [prompt for prompt, _ in seconds(result)] == [f"{text}, sharp" for text in first]
    assert len(set(first)) > 1
    assert {negative for _, negative in seconds(result)} <= {f"{a}, {b}" for a in "ab" for b in ("noise", "blur")}
    plain = made(studio, seed=9, hires=hires | {"prompt": None, "negative_prompt": None}, styles=("soft",))
    assert seconds(plain) == [(None, None)]
    Path("wildcards/ground.txt").write_text("lava\n")
    again = studio.submit(result.pictures[2].recipe.again()).result(100)
    assert studios.distance(again.images[0], result.images[2]) < 1e-2
    assert seconds(again) == [seconds(result)[2]]
    with pytest.raises(UnknownNameError, match="`nope`"):
        studio.submit(request("a cat", hires={"prompt": "__nope__"}))
    with pytest.raises(InputError, match="a weight of 101"):
        studio.submit(request("a cat", hires={"prompt": "a (cat:101)"}))


def test_names_of_embeddings_may_be_chosen(studio: Studio) -> None:
    Path("models/embeddings").mkdir(parents=True)
    pipeline: Any = zoo.built("sd1")
    inversions.a1111(Path("models/embeddings/ohwx.pt"), torch.ones(2, pipeline.text_encoder.config.hidden_size))
    result = made(studio, "a {ohwx|plain} cat", count=4)
    for recipe in result.recipes:
        assert [each.word for each in recipe.resolved.embeddings] == (
            ["ohwx"] if "ohwx" in recipe.resolved.prompt else []
        )
    assert len({recipe.resolved.prompt for recipe in result.recipes}) == 2


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"prompt": "a {b|__grounds__}"}, "Unknown wildcard: `grounds`"),
        ({"styles": ("sofd",)}, "Unknown style: `sofd`"),
        ({"prompt": "a cat", "wildcard_seed": 3}, "Wildcard seed 3 has no effect"),
        ({"prompt": "a {b|c}", "dialect": "a1111", "wildcard_seed": 3}, "Wildcard seed 3 has no effect"),
        ({"prompt": "a {(b:101)|(b:102)}"}, "a weight of 10"),
        ({"prompt": "a {b|<lora:nope:1>}", "count": 9}, "Unknown adapter: `nope`"),
        ({"count": 10_001}, "10,001 pictures"),
        ({"negative_prompt": "{a|__nope__}"}, "Unknown wildcard: `nope`"),
    ],
)
def test_what_cannot_be_read_is_refused_before_anything_runs(studio: Studio, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        studio.submit(request(**{"prompt": PROMPT} | fields))
    if isinstance(refused.value, UnknownNameError) and refused.value.kind in ("wildcard", "style"):
        assert refused.value.nearest or "known" in (refused.value.hint or "")


@pytest.mark.parametrize("dialect", ["a1111", "comfyui", "plain"])
def test_other_dialects_choose_only_where_it_is_asked_for(studio: Studio, dialect: str) -> None:
    text = r"a {cat|dog} for $5, \{so\} __ground__"
    assert studio.resolve(request(text, dialect=dialect)).prompt == text
    found = studio.resolve(request(text, dialect=dialect, dynamic=True)).prompt
    assert found.startswith(("a cat for $5, ", "a dog for $5, "))
    assert ("{so}" in found) == (dialect != "a1111")
    assert studio.resolve(request(text, dynamic=False)).prompt == text
