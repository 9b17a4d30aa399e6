"""Conditioning by language models gives pipelines the very bytes of their own `encode_prompt`, and cuts nothing."""

# pyright: reportPrivateImportUsage=false
# (diffusers exports its names lazily)

from collections.abc import Callable
from typing import Any

import pytest
import torch

import zoo
from conditioned import plainly
from gesso.core.errors import InputError
from gesso.core.registry import load_dotted
from gesso.core.requests import Weighting
from gesso.engine.conditioning import chat, flux2, flux2_klein, qwen_image, z_image
from gesso.engine.conditioning.base import Encoded
from gesso.engine.prompt.steps import Piece
from gesso.models.families import FAMILIES

CPU = torch.device("cpu")
KINDS = ("z-image", "flux2", "flux2-klein-base", "qwen-image")
GUIDED = ("z-image", "flux2-klein-base", "qwen-image")
ENCODERS: dict[str, Callable[..., Encoded]] = {
    "z-image": z_image.encode_texts,
    "flux2": flux2.encode_texts,
    "flux2-klein-base": flux2_klein.encode_texts,
    "qwen-image": qwen_image.encode_texts,
}
LIMITS = {"z-image": 512, "flux2": 512, "flux2-klein-base": 512, "qwen-image": 1024}


class PlainModel:
    """What conditioning needs of a model, from a plain pipeline; keeps what its text encoder was asked."""

    device, dtype = CPU, torch.float32

    def __init__(self, pipeline: Any, dtype: torch.dtype = torch.float32) -> None:
        self.pipeline = pipeline
        self.init_options = dict(pipeline.config)
        self.dtype = dtype
        self.asked: list[dict[str, Any]] = []

    def network(self, name: str) -> Any:
        network = getattr(self.pipeline, name)

        def call(**given: Any) -> Any:
            self.asked.append(given)
            return network(**given)

        return call

    def tokenizer(self, name: str) -> Any:
        return getattr(self.pipeline, name)

    def processor(self, name: str) -> None:
        return None

    def part(self, path: str) -> Any:
        raise NotImplementedError(path)


def encode(kind: str, prompt: str, negative: str = "", *, pipeline: Any = None, **options: Any) -> dict[str, Any]:
    model = options.pop("model", None) or PlainModel(pipeline or zoo.built(kind))
    with torch.no_grad():
        return plainly(
            ENCODERS[kind],
            model,
            prompt=prompt,
            negative_prompt=negative,
            **{"guided": kind in GUIDED, "clip_skip": 1} | options,
        )


def plain(kind: str, prompt: str, pipeline: Any = None) -> torch.Tensor:
    """What the unmodified pipeline makes of one text: [L, C]."""
    pipe: Any = pipeline or zoo.built(kind)
    with torch.no_grad():
        match kind:
            case "z-image":
                [found], _ = pipe.encode_prompt(prompt, device=CPU, do_classifier_free_guidance=False)
            case "qwen-image":
                [found], mask = pipe.encode_prompt(prompt, device=CPU, max_sequence_length=1024)
                assert mask is None
            case _:
                [found], _ = pipe.encode_prompt(prompt, device=CPU)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompt", ["a red circle left of a blue square, zeppelin", "", "a\nb <|im_end|> ☃"])
def test_a_prompt_has_the_bytes_of_the_pipeline(kind: str, prompt: str) -> None:
    assert torch.equal(encode(kind, prompt)["prompt_embeds"][0], plain(kind, prompt))


@pytest.mark.parametrize("kind", GUIDED)
@pytest.mark.parametrize("negative", ["dark photo of a river", ""])
def test_a_negative_prompt_has_the_bytes_of_the_pipeline(kind: str, negative: str) -> None:
    wanted = plain(kind, negative or (" " if kind == "qwen-image" else ""))
    found = encode(kind, "a red circle", negative)
    assert torch.equal(found["negative_prompt_embeds"][0], wanted)
    assert not any(name.startswith("negative") for name in encode(kind, "a red circle", guided=False))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", KINDS)
def test_padding_goes_where_the_tokenizer_puts_it(kind: str, side: str) -> None:
    pipeline: Any = zoo.build(kind)
    pipeline.tokenizer.padding_side = side
    found = encode(kind, "a red circle", pipeline=pipeline)["prompt_embeds"][0]
    assert torch.equal(found, plain(kind, "a red circle", pipeline))


def words_that_fill(kind: str) -> str:
    """A prompt of as many tokens as the family reads."""
    asked = PlainModel(zoo.built(kind))
    encode(kind, "red", model=asked, guided=False)
    used = int(asked.asked[0]["attention_mask"].sum()) - (34 if kind == "qwen-image" else 0)
    return " ".join(["red"] * (1 + LIMITS[kind] - used))


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_that_just_fits_is_read_to_its_end(kind: str) -> None:
    prompt = words_that_fill(kind)
    found = encode(kind, prompt)["prompt_embeds"][0]
    assert found.shape[0] == LIMITS[kind]
    assert torch.equal(found, plain(kind, prompt))
    other = encode(kind, prompt.removesuffix("red") + "blue")["prompt_embeds"][0]
    assert (found - other).abs().max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_longer_prompt_is_refused_with_the_limit(kind: str) -> None:
    prompt = words_that_fill(kind) + " red"
    with pytest.raises(InputError, match=r"The prompt has .* tokens") as refused:
        encode(kind, prompt)
    limit = LIMITS[kind] + (34 if kind == "qwen-image" else 0)
    assert f"has {limit + 1} tokens" in refused.value.message
    assert f"at most {limit}" in refused.value.message
    if kind in GUIDED:
        with pytest.raises(InputError, match="The negative prompt has"):
            encode(kind, "red", prompt)


@pytest.mark.parametrize("kind", KINDS)
def test_no_keys_are_kept_and_each_text_is_one_call(kind: str) -> None:
    model = PlainModel(zoo.built(kind))
    encode(kind, "red", "blue", model=model)
    assert len(model.asked) == (2 if kind in GUIDED else 1)
    assert all(given["use_cache"] is False for given in model.asked)


@pytest.mark.parametrize("kind", ["flux2-klein-base", "qwen-image", "flux2"])
def test_words_are_scored_at_one_place_only(kind: str) -> None:
    """The scores of every word at every place would be the largest tensor of the whole request."""
    asked: list[dict[str, Any]] = []

    class Face:
        lm_head = object()

        def __call__(self, **given: Any) -> Any:
            asked.append(given)
            encoder: Any = zoo.built(kind).components["text_encoder"]
            found = encoder(**given)
            assert found.logits.shape[1] == 1
            return found

    model = PlainModel(zoo.built(kind))
    model.network = lambda name: Face()
    found = encode(kind, "a red circle", model=model)
    assert torch.equal(found["prompt_embeds"][0], plain(kind, "a red circle"))
    assert asked[0]["logits_to_keep"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_come_in_the_type_that_the_model_wants(kind: str) -> None:
    found = encode(kind, "red", model=PlainModel(zoo.built(kind), torch.bfloat16))
    assert {rows[0].dtype for name, rows in found.items() if name.endswith("embeds")} == {torch.bfloat16}


@pytest.mark.parametrize("kind", KINDS)
def test_clip_skip_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match="Clip skip 2"):
        encode(kind, "red", clip_skip=2)


def test_the_instruction_is_that_of_the_pipeline() -> None:
    pipeline: Any = zoo.built("qwen-image")
    assert pipeline.prompt_template_encode == qwen_image.INSTRUCTION + "{}" + qwen_image.END
    assert pipeline.prompt_template_encode_start_idx == qwen_image.INSTRUCTION_TOKENS
    assert len(pipeline.tokenizer(qwen_image.INSTRUCTION)["input_ids"]) == qwen_image.INSTRUCTION_TOKENS
    assert pipeline.tokenizer_max_length == qwen_image.LONGEST


def test_braces_in_a_prompt_are_words() -> None:
    assert torch.equal(
        encode("qwen-image", "a {red} {0} circle")["prompt_embeds"][0], plain("qwen-image", "a {red} {0} circle")
    )


def test_a_prompt_that_names_the_place_of_a_picture_is_read_without_it() -> None:
    with_it, without = (encode("flux2", prompt)["prompt_embeds"] for prompt in ("a red [IMG]circle", "a red circle"))
    assert torch.equal(with_it, without)
    assert torch.equal(with_it[0], plain("flux2", "a red [IMG]circle"))


def test_families_name_these_functions() -> None:
    named = {
        name: load_dotted(FAMILIES[name].conditioning) for name in ("z-image", "flux2", "flux2-klein", "qwen-image")
    }
    assert list(named.values()) == list(ENCODERS.values())


def test_a_word_that_is_no_text_of_a_conversation_is_told_by_its_name() -> None:
    tokenizer: Any = zoo.built("z-image").components["tokenizer"]
    turn = chat.Turn(pieces=(Piece("red red red", 1.0),), what=chat.NEGATIVE)
    said = chat.Conversation.around(turn, lambda text: text)
    with pytest.raises(InputError, match="The negative prompt has 3 tokens"):
        chat.tokens(tokenizer, said, longest=2, padded=False, weighting=Weighting.ORIGINAL)
