"""Embeddings as a user meets them: the picture is that of the words whose vectors they hold, and nothing is silent."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import inversions
import studios
import zoo
from effects import Effect
from gesso.components.face import component_of
from gesso.core.errors import GessoError, InputError, ModelError
from gesso.core.requests import AdapterUse, EmbeddingUse, ImageRequest
from gesso.engine import infotext
from gesso.engine.handle import Result
from gesso.engine.replay import Verdict, replay
from gesso.engine.studio import Studio
from inversions import primer_reader, primer_vectors

PLAIN = "a large red circle on a teal background"
WORDED = "a large thing on a teal background"
WIDTH = primer_vectors("red").shape[1]


@pytest.fixture(scope="module")
def red_circle() -> Tensor:
    return primer_vectors("red circle")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, red_circle: Tensor) -> Path:
    """A model folder with embeddings of the primer."""
    folder = tmp_path_factory.mktemp("models")
    inversions.a1111(folder / "embeddings" / "thing", red_circle)
    inversions.a1111(folder / "embeddings" / "more" / "bad-thing_v2", primer_vectors("blue star"))
    inversions.safetensors(folder / "embeddings" / "for-another", {"emb_params": torch.ones(2, 768)})
    inversions.a1111_safetensors(folder / "elsewhere", red_circle)
    return folder


@pytest.fixture(scope="module")
def studio(folder: Path) -> Iterator[Studio]:
    with studios.studio(model_folders=(folder,)) as opened:
        yield opened


def asked(prompt: str, *embeddings: EmbeddingUse | str | Path, **fields: Any) -> ImageRequest:
    uses = tuple(one if isinstance(one, EmbeddingUse) else EmbeddingUse(name=str(one)) for one in embeddings)
    return ImageRequest(**{"prompt": prompt, "seed": 1, "steps": 1, "embeddings": uses} | fields)


def made(studio: Studio, prompt: str, *embeddings: EmbeddingUse | str | Path, **fields: Any) -> Result:
    return studio.submit(asked(prompt, *embeddings, **fields)).result()


def pixels(result: Result) -> str:
    return result.recipes[0].run.pixels_sha256


@pytest.mark.parametrize("write", inversions.ONE_ENCODER)
def test_the_picture_is_that_of_the_words_whose_vectors_a_file_of_any_layout_holds(
    write: Callable[..., Path], studio: Studio, red_circle: Tensor, tmp_path: Path
) -> None:
    path = write(tmp_path / "my", red_circle)
    result = made(studio, "a large OHWX, on a teal background", EmbeddingUse(name=str(path), word="ohwx"))
    assert pixels(result) == pixels(made(studio, "a large red circle, on a teal background"))
    assert result.warnings == ()


@pytest.mark.parametrize("words", ["red", "large red circle left of a blue star"])
def test_a_word_is_as_many_tokens_as_the_file_has_vectors(words: str, studio: Studio, tmp_path: Path) -> None:
    vectors = primer_vectors(words)
    path = inversions.diffusers_pickle(tmp_path / "learned", vectors, token="<it>")
    result = made(studio, "a <it> on a white background", path)
    assert pixels(result) == pixels(made(studio, f"a {words} on a white background"))
    assert result.embeddings[0].vectors == len(vectors)


def test_words_stand_in_the_negative_prompt_too_and_with_clip_skip(studio: Studio) -> None:
    for fields in ({}, {"clip_skip": 2}):
        result = made(studio, "a heart", negative_prompt=WORDED, **fields)
        assert pixels(result) == pixels(made(studio, "a heart", negative_prompt=PLAIN, **fields))
        assert (result.embeddings[0].in_prompt, result.embeddings[0].in_negative_prompt) == (0, 1)


def test_a_word_may_stand_anywhere_often_and_beside_others(studio: Studio) -> None:
    result = made(studio, "(thing) and Bad-Thing_V2, embedding:thing; not something nor thing_v2")
    plain = made(studio, "(red circle) and blue star, red circle; not something nor thing_v2")
    assert pixels(result) == pixels(plain)
    assert {report.word: report.in_prompt for report in result.embeddings} == {"thing": 2, "bad-thing_v2": 1}


@pytest.mark.parametrize("prompt", ["a large ({0}:1.5) on teal", "a [{0}:heart:1] on teal AND a {0} :0.5"])
def test_a_word_has_weights_and_steps_as_the_language_of_prompts_says(prompt: str, studio: Studio) -> None:
    word, words = (made(studio, prompt.format(text), steps=2) for text in ("thing", "red circle"))
    assert pixels(word) == pixels(words)


def test_explaining_a_prompt_shows_words_by_their_names_with_as_many_tokens_as_they_have_vectors(
    studio: Studio,
) -> None:
    (text,) = studio.explain(asked("a large (thing:1.5)")).texts
    assert [(piece.text, piece.tokens) for piece in text.chunks[0]] == [("a large", 2), ("thing", 2)]


def test_the_name_of_a_file_stands_for_its_vectors(
    studio: Studio, red_circle: Tensor, tmp_path: Path, effect: Effect
) -> None:
    path = inversions.a1111(tmp_path / "my.pt", red_circle)
    named = made(studio, "a large my, on a teal background", path)
    words = made(studio, "a large red circle, on a teal background")
    effect(
        "The name of an embedding in the prompt paints what the words paint whose vectors it holds: largest difference",
        studios.distance(named.images[0], words.images[0]),
        most=0,
    )


def test_in_a_prompt_of_several_chunks_the_vectors_stay_together(studio: Studio) -> None:
    filler = "a " * 74
    assert pixels(made(studio, f"{filler}thing")) != pixels(made(studio, f"{filler}red circle"))  # which are torn apart
    assert pixels(made(studio, f"{filler}thing")) != pixels(made(studio, f"{filler}"))


def test_the_name_of_a_file_in_a_folder_for_embeddings_is_enough_and_can_be_switched_off(studio: Studio) -> None:
    by_name = made(studio, WORDED)
    assert [report.name for report in by_name.embeddings] == ["thing"]
    assert pixels(by_name) == pixels(made(studio, PLAIN))
    off = made(studio, WORDED, embeddings_by_name=False)
    assert off.embeddings == ()
    assert pixels(off) != pixels(by_name)
    assert made(studio, "a large elsewhere").embeddings == ()
    assert pixels(made(studio, "a large elsewhere", "elsewhere")) == pixels(made(studio, "a large red circle"))


def test_pictures_at_the_same_time_each_read_their_own_vectors_with_the_bytes_of_a_lone_one(
    studio: Studio, tmp_path: Path
) -> None:
    uses = [
        EmbeddingUse(name=str(inversions.a1111(tmp_path / name, primer_vectors(words))), word="ohwx")
        for name, words in {"one": "red circle", "two": "blue star"}.items()
    ]
    fields = {"exact": True, "embeddings_by_name": False}
    requests = [asked("an ohwx", use, **fields) for use in (*uses, uses[0])] + [asked("an ohwx", **fields)]
    studio.submit(asked("a heart", **fields)).result()
    with studio.hosted(studio.resolve(requests[0]), None) as model:  # pyright: ignore[reportArgumentType]
        component = component_of(model.network("text_encoder"))
        assert component is not None
        table: Any = component.module.get_input_embeddings()  # pyright: ignore[reportCallIssue]
        before, place = table.weight.clone(), table.weight.data_ptr()
        with studios.gathered(studio, "text_encoder", 4):
            together = studios.run_together(studio, requests)
        assert torch.equal(table.weight, before)
        assert table.weight.data_ptr() == place
        assert "forward" not in table.__dict__
    alone = [studio.submit(request).result() for request in requests]
    assert [pixels(result) for result in together] == [pixels(result) for result in alone]
    assert len({pixels(result) for result in together}) == 3
    readings = [result.recipes[0].run.trace[0].digest for result in together]
    assert [readings.count(reading) for reading in readings] == [2, 1, 2, 1]


def test_an_adapter_changes_what_is_read_of_the_vectors_as_of_the_words(studio: Studio, tmp_path: Path) -> None:
    tokenizer, encoder = primer_reader()
    norm, words = torch.linspace(0, 1, WIDTH), torch.zeros_like(encoder.get_input_embeddings().weight)
    words[tokenizer("large", add_special_tokens=False)["input_ids"]] = torch.linspace(-1, 1, WIDTH)
    for key, change in {"final_layer_norm.diff": norm, "embeddings_token_embedding.diff": words}.items():
        path = inversions.safetensors(tmp_path / "adapter", {f"lora_te_text_model_{key}": change})
        adapters = (AdapterUse(name=str(path)),)
        changed = made(studio, WORDED, adapters=adapters)
        assert pixels(changed) == pixels(made(studio, PLAIN, adapters=adapters))
        assert pixels(changed) != pixels(made(studio, PLAIN))


def test_the_result_the_recipe_and_the_text_tell_of_the_embeddings(studio: Studio) -> None:
    result = made(studio, WORDED)
    (report,) = result.embeddings
    assert (report.word, report.vectors, report.widths) == ("thing", 2, {"text_encoder": WIDTH})
    assert report.told() == "`thing` is 2 vectors for `text_encoder`; 1 in the prompt, 0 in the negative prompt"
    (recipe,) = result.recipes
    assert recipe.run.embeddings == (report,)
    assert [embedding.sha256 for embedding in recipe.resolved.embeddings] == [report.sha256]
    assert recipe.run.fingerprint.embeddings == (f"sha256:{report.sha256}=thing",)
    assert infotext.parse(infotext.write(recipe)).pairs["TI hashes"] == f"thing: {report.sha256[:10]}"


def test_a_picture_is_made_again_with_its_embeddings_and_refused_with_others(
    folder: Path, red_circle: Tensor, tmp_path: Path
) -> None:
    place = tmp_path / "models" / "embeddings"
    mine = inversions.a1111(place / "mine", red_circle)
    with studios.studio(model_folders=(tmp_path / "models",)) as studio:
        result = made(studio, "a mine and a star")
        (path,) = result.save(tmp_path / "again.png")
        inversions.a1111(place / "star", red_circle)  # a word of the picture's prompt, and no embedding at the time
        again = result.recipes[0].again()
        assert pixels(studio.submit(again).result()) == pixels(result)
        assert replay(studio, path).verdict is Verdict.IDENTICAL
        other = studio.resolve(result.recipes[0].again(prompt="a star"))
        assert [embedding.word for embedding in other.embeddings] == ["star"]
        inversions.a1111(mine, red_circle + 1)
        with pytest.raises(InputError, match="is not the embedding that was asked for"):
            studio.submit(again)
        with pytest.raises(InputError, match="is not the embedding that was asked for"):
            replay(studio, path)


def test_an_embedding_whose_word_stands_nowhere_is_warned_of_and_an_error_if_strict(
    studio: Studio, red_circle: Tensor, tmp_path: Path
) -> None:
    path = inversions.diffusers_safetensors(tmp_path / "cat", red_circle, token="<cat-toy>")
    result = made(studio, "a heart", path)
    (warning,) = result.warnings
    assert warning == ("The embedding `cat` is NOT USED: its word `<cat-toy>` stands in no prompt, nor does `cat`")
    assert result.recipes[0].run.warnings == (warning,)
    with pytest.raises(InputError, match="is NOT USED"):
        studio.submit(asked("a heart", path, strict=True))
    for prompt in ("a <cat-toy>", "a cat"):  # the token of the file, or else its name
        assert pixels(made(studio, prompt, path, strict=True)) == pixels(made(studio, "a red circle"))


def test_an_embedding_for_another_model_is_not_read_by_name_and_told(studio: Studio) -> None:
    result = made(studio, "a for-another")
    assert result.embeddings == ()
    assert result.warnings == (
        "`for-another` in the prompts is read as plain words. The embedding `for-another` has vectors of width 768, "
        f"`text_encoder` of `primer` (sd1) reads {WIDTH}: it fits sd1",
    )


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (
            {"emb_params": torch.ones(2, 768)},
            r"vectors of width 768, `text_encoder` of `primer` \(sd1\) reads \d+: it fits sd1",
        ),
        ({"emb_params": torch.ones(2, WIDTH + 8)}, f"reads {WIDTH}: it fits text encoders of width {WIDTH + 8}"),
        ({"emb_params": torch.ones(2, 1024)}, "is made for sd2, `primer` is sd1"),
        ({"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}, "is made for sdxl, `primer` is sd1"),
        ({"lora_unet_mid_block_resnets_0_conv1.diff": torch.ones(2)}, "is a lora, not an embedding"),
        ({"something": torch.ones(2)}, "is nothing that is known, not an embedding"),
    ],
)
def test_what_does_not_fit_or_is_no_embedding_is_refused_before_anything_runs(
    tensors: dict[str, Tensor], said: str, studio: Studio, tmp_path: Path
) -> None:
    path = inversions.safetensors(tmp_path / "other", tensors)
    with pytest.raises(InputError, match=said):
        studio.submit(asked("an other", path))


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"emb_params": torch.full((2, WIDTH), torch.nan)}, "holds values that are no numbers"),
        ({"<a>": torch.ones(WIDTH), "<b>": torch.ones(WIDTH)}, "more than the vectors of one embedding: `<a>`, `<b>`"),
        ({"clip_l": torch.ones(1, 16), "clip_g": torch.ones(2, 24)}, "1 for `clip_l`, 2 for `clip_g`"),
    ],
)
def test_files_that_cannot_be_read_as_one_embedding_are_refused(
    tensors: dict[str, Tensor], said: str, studio: Studio, tmp_path: Path
) -> None:
    path = inversions.safetensors(tmp_path / "odd", tensors)
    model = str(zoo.saved("sdxl")) if "clip_l" in tensors else None
    with pytest.raises(ModelError, match=said):
        made(studio, "an odd <a>", path, model=model)


class Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("never",)


def test_a_pickle_with_code_is_refused_and_by_its_name_not_read(studio: Studio, folder: Path) -> None:
    path = folder / "embeddings" / "hostile.pt"
    path.write_bytes(pickle.dumps({"string_to_param": {"*": Attack()}}))
    with pytest.raises(ModelError, match=r"names `(__builtin__|builtins).print`"):
        studio.submit(asked("a hostile", path))
    result = made(studio, "a hostile")
    assert "which weights do not need" in result.warnings[0]
    assert result.embeddings == ()


@pytest.mark.parametrize(
    ("uses", "said"),
    [
        ([EmbeddingUse(name="thin")], "Unknown embedding: `thin`"),
        ([EmbeddingUse(name="./nowhere.pt")], "There is no embedding `./nowhere.pt`"),
        ([EmbeddingUse(name="thing"), EmbeddingUse(name="elsewhere", word="Thing")], "`Thing` means two embeddings"),
        ([EmbeddingUse(name="thing", sha256="0" * 64)], "is not the embedding that was asked for"),
        ([EmbeddingUse(name="thing", word=f"w{index}") for index in range(65)], "65 embeddings were asked for"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(uses: list[EmbeddingUse], said: str, studio: Studio) -> None:
    with pytest.raises(GessoError, match=said):
        studio.submit(asked(WORDED, *uses))


def test_of_two_files_of_one_name_the_one_that_fits_is_read_and_two_that_fit_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "embeddings"
    inversions.a1111(place / "sd1" / "twin", primer_vectors("red circle"))
    inversions.safetensors(place / "sdxl" / "twin", {"clip_l": torch.ones(1, 768), "clip_g": torch.ones(1, 1280)})
    with studios.studio(model_folders=(tmp_path,)) as studio:
        result = made(studio, "a twin")
        assert (result.embeddings[0].vectors, result.warnings) == (2, ())
        inversions.a1111(place / "new" / "twin", primer_vectors("blue star"))
        with pytest.raises(InputError, match="`twin` means two embeddings"):
            studio.submit(asked("a twin"))
        chosen = made(studio, "a twin", place / "new" / "twin.pt")
        assert pixels(chosen) == pixels(made(studio, "a blue star"))


def readers_of(kind: str) -> list[tuple[Any, Any]]:
    pipeline: Any = zoo.built(kind)
    suffixes = [suffix for suffix in ("", "_2", "_3") if getattr(pipeline, f"text_encoder{suffix}", None) is not None]
    return [
        (getattr(pipeline, f"tokenizer{suffix}"), getattr(pipeline, f"text_encoder{suffix}")) for suffix in suffixes
    ]


@pytest.mark.parametrize(
    ("kind", "encoders"),
    [
        ("sdxl", ("clip_l", "clip_g")),
        ("sd3", ("clip_l", "clip_g", "t5xxl")),
        ("flux-dev", ("clip_l", "t5xxl")),
    ],
)
def test_a_model_with_several_text_encoders_reads_a_file_with_vectors_for_each(
    kind: str, encoders: tuple[str, ...], studio: Studio, tmp_path: Path
) -> None:
    vectors = dict(zip(encoders, inversions.vectors_of("red circle", readers_of(kind)), strict=True))
    path = inversions.safetensors(tmp_path / "big", vectors)
    size = {"width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX, "steps": 2, "model": str(zoo.saved(kind))}
    negative = {} if kind == "flux-dev" else {"negative_prompt": "dark big"}
    result = made(studio, "a big left of a tree", path, **negative, **size)
    negative = {name: text.replace("big", "red circle") for name, text in negative.items()}
    assert pixels(result) == pixels(made(studio, "a red circle left of a tree", **negative, **size))
    assert pixels(result) != pixels(made(studio, "a tree", **negative, **size))
    assert len(result.embeddings[0].widths) == len(encoders)
    alone = inversions.a1111(tmp_path / "alone", vectors["clip_l"])
    with pytest.raises(InputError, match="has vectors for one text encoder"):
        studio.submit(asked("alone", alone, **size))


def test_a_model_that_reads_prompts_in_another_way_takes_no_embeddings(studio: Studio, folder: Path) -> None:
    model = {"model": str(zoo.saved("z-image")), "width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX}
    with pytest.raises(InputError, match=r"fits text encoders of width \d+; .* \(z-image\) reads no embeddings"):
        studio.submit(asked(WORDED, "thing", **model))
    assert studio.resolve(asked(WORDED, **model)).embeddings == ()
