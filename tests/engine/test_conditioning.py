"""Conditioning gives pipelines what their own `encode_prompt` gives, and loses no token of longer prompts."""

# pyright: reportPrivateImportUsage=false
# (diffusers exports its names lazily)

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from torch import nn

import zoo
from conditioned import plainly
from gesso.core.errors import InputError, ModelError
from gesso.engine.conditioning import TextModel, chunks, clip, clip_pair, clip_t5, triple
from gesso.engine.conditioning.base import Encoded
from gesso.engine.conditioning.chunks import ChunkFormat, chunk_rows, split, token_ids

ENCODERS: Mapping[str, Callable[..., Encoded]] = {
    "sd1": clip.encode_texts,
    "sd2": clip.encode_texts,
    "sdxl": clip_pair.encode_texts,
    "sd3": triple.encode_texts,
    "flux-dev": clip_t5.encode_texts,
}
ROUNDING = 1e-6
"""Two rows of one call against two calls of one row; the values are of order 1, and 5e-7 was seen."""
PROMPT, NEGATIVE = "a red circle left of a blue square, bright", "dark photo of a river"
LONG = " ".join(zoo.WORDS * 15)
"""555 tokens."""


@dataclass
class PlainModel:
    """The modules of a pipeline, unhosted; counts the calls of each network."""

    pipe: Any
    missing: frozenset[str] = frozenset()
    calls: dict[str, int] = field(default_factory=dict)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32

    @property
    def init_options(self) -> Mapping[str, Any]:
        return dict(self.pipe.config)

    def network(self, name: str) -> Any | None:
        module = None if name in self.missing else getattr(self.pipe, name, None)
        if module is None:
            return None
        return CountedNetwork(module, lambda: self.calls.update({name: self.calls.get(name, 0) + 1}))

    def tokenizer(self, name: str) -> Any | None:
        return None if name in self.missing else getattr(self.pipe, name, None)

    def processor(self, name: str) -> None:
        return None

    def part(self, path: str) -> nn.Module:
        name, _, rest = path.partition(".")
        return getattr(self.pipe, name).get_submodule(rest)


@dataclass
class CountedNetwork:
    module: nn.Module
    count: Callable[[], None]

    @property
    def config(self) -> Any:
        return self.module.config

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.count()
        return self.module(*args, **kwargs)


def model_of(kind: str, **options: Any) -> TextModel:
    return PlainModel(zoo.built(kind), **options)


def encode(kind: str, prompt: str = PROMPT, negative: str = NEGATIVE, **options: Any) -> dict[str, torch.Tensor]:
    wanted = {"guided": True, "clip_skip": 1, "model": model_of(kind), **options}
    return plainly(ENCODERS[kind], wanted.pop("model"), prompt=prompt, negative_prompt=negative, **wanted)


def plain(
    pipe: Any, prompt: str = PROMPT, negative: str | None = NEGATIVE, clip_skip: int | None = None
) -> dict[str, torch.Tensor]:
    """What the unmodified pipeline makes of the prompts; `clip_skip` as diffusers counts it."""
    options: dict[str, Any] = {} if clip_skip is None else {"clip_skip": clip_skip}
    device = torch.device("cpu")
    match type(pipe).__name__:
        case "StableDiffusionPipeline":
            found = pipe.encode_prompt(prompt, device, 1, True, negative, **options)
            return dict(zip(("prompt_embeds", "negative_prompt_embeds"), found, strict=True))
        case "FluxPipeline":
            result: dict[str, torch.Tensor] = {}
            for prefix, text in (("", prompt), ("negative_", negative or "")):
                result[f"{prefix}prompt_embeds"], result[f"{prefix}pooled_prompt_embeds"], _ = pipe.encode_prompt(
                    text, text, device=device
                )
            return result
        case "StableDiffusion3Pipeline":
            found = pipe.encode_prompt(prompt, prompt, prompt, device=device, negative_prompt=negative, **options)
        case _:
            found = pipe.encode_prompt(prompt, device=device, negative_prompt=negative, **options)
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    return dict(zip(names, found, strict=True))


def assert_equal(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=ROUNDING, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("prompt", [PROMPT, ""], ids=["text", "empty"])
def test_a_prompt_that_fits_gives_what_the_pipeline_gives(kind: str, prompt: str) -> None:
    assert_equal(encode(kind, prompt), plain(zoo.built(kind), prompt))


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_prompt_that_just_fits_gives_what_the_pipeline_gives(kind: str) -> None:
    prompt = " ".join(["red", "blue", "green"] * 25)  # 75 tokens
    assert_equal(encode(kind, prompt), plain(zoo.built(kind), prompt))


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_unguided_prompt_alone_has_the_bytes_of_the_pipeline_and_no_negatives(kind: str) -> None:
    found, wanted = encode(kind, guided=False), plain(zoo.built(kind))
    assert not any(name.startswith("negative") for name in found)
    for name, tensor in found.items():
        assert torch.equal(tensor, wanted[name]), name


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("kind", ENCODERS)
def test_the_pipeline_takes_what_was_encoded(kind: str) -> None:
    given = encode(kind, LONG, "dark")
    pipe: Any = zoo.build(kind)
    size = {"width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX, "num_inference_steps": 2, "output_type": "np"}
    guidance = {"true_cfg_scale": 3.0} if kind.startswith("flux") else {"guidance_scale": 3.0}
    picture = pipe(**given, **size, **guidance, generator=torch.Generator().manual_seed(0)).images[0]
    assert picture.shape == (zoo.PICTURE_PX, zoo.PICTURE_PX, 3)
    assert picture.std() > 0.05


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_last_word_of_a_long_prompt_counts(kind: str) -> None:
    words = ["a red circle"] * 100  # 300 words
    first = encode(kind, " ".join([*words, "cat"]))
    second = encode(kind, " ".join([*words, "dog"]))
    difference = (first["prompt_embeds"] - second["prompt_embeds"]).abs().amax(dim=(0, 2))  # [tokens]
    assert difference.max() > 0.1
    assert torch.equal(first["negative_prompt_embeds"], second["negative_prompt_embeds"])


@pytest.mark.parametrize("kind", ["sd3", "flux-dev"])
def test_a_t5_text_longer_than_usual_is_extended(kind: str) -> None:
    words = ["red"] * 600
    first, second = (encode(kind, " ".join([*words, last])) for last in ("cat", "dog"))
    t5 = first["prompt_embeds"].shape[1] - (9 * 77 if kind == "sd3" else 0)
    assert t5 == 602  # 601 words and the end
    # T5's tokens are the last; CLIP's own, of SD 3, do not stand in for them here.
    difference = (first["prompt_embeds"] - second["prompt_embeds"])[:, -602:].abs().amax(dim=(0, 2))
    assert difference[600] > 0.1


@pytest.mark.parametrize("kind", ENCODERS)
def test_prompt_and_negative_prompt_have_one_shape(kind: str) -> None:
    for prompt, negative in ((LONG, "dark"), ("dark", LONG)):
        found = encode(kind, prompt, negative)
        assert found["prompt_embeds"].shape == found["negative_prompt_embeds"].shape


@pytest.mark.parametrize("kind", ENCODERS)
def test_each_encoder_is_called_once(kind: str) -> None:
    model = PlainModel(zoo.built(kind))
    encode(kind, LONG, model=model)
    wanted = {"sdxl": 2, "sd3": 3, "flux-dev": 2}.get(kind, 1)
    assert list(model.calls.values()) == [1] * wanted


@pytest.mark.parametrize("kind", ENCODERS)
def test_swapping_prompts_swaps_embeddings(kind: str) -> None:
    forth, back = encode(kind, PROMPT, LONG), encode(kind, LONG, PROMPT)
    assert (forth["prompt_embeds"] - forth["negative_prompt_embeds"]).abs().max() > 0.1
    for name in ("prompt_embeds", "pooled_prompt_embeds"):
        if name in forth:
            torch.testing.assert_close(forth[name], back[f"negative_{name}"], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "sd3"])
def test_a_long_prompt_is_the_encodings_of_its_chunks_side_by_side(kind: str) -> None:
    parts = [" ".join([word] * 75) for word in ("red", "blue")]
    whole = encode(kind, " ".join(parts), parts[0])
    each = [encode(kind, part, parts[0]) for part in parts]
    for index, part in enumerate(each):
        ours = whole["prompt_embeds"][:, 77 * index : 77 * (index + 1)]
        torch.testing.assert_close(ours, part["prompt_embeds"][:, :77], rtol=0, atol=ROUNDING)
    if kind != "sd1":
        torch.testing.assert_close(
            whole["pooled_prompt_embeds"], each[0]["pooled_prompt_embeds"], rtol=0, atol=ROUNDING
        )


# --- clip skip


def without_last_layers(kind: str, count: int) -> DiffusionPipeline:
    """The pipeline with its CLIP encoders `count` layers shorter."""
    pipe: Any = zoo.build(kind)
    for name in ("text_encoder", "text_encoder_2"):
        if encoder := getattr(pipe, name, None):
            layers = getattr(encoder, "text_model", encoder).encoder.layers
            del layers[len(layers) - count :]
    return pipe


@pytest.mark.parametrize("kind", ["sd1", "sd2"])
@pytest.mark.parametrize("clip_skip", [2, 3])
def test_clip_skip_reads_an_earlier_layer_then_the_final_norm(kind: str, clip_skip: int) -> None:
    shorter = without_last_layers(kind, clip_skip - 1)
    assert_equal(encode(kind, clip_skip=clip_skip), plain(shorter))
    assert (encode(kind)["prompt_embeds"] - encode(kind, clip_skip=clip_skip)["prompt_embeds"]).abs().max() > 0.1


@pytest.mark.parametrize("kind", ["sdxl", "sd3"])
def test_clip_skip_counts_from_the_penultimate_layer(kind: str) -> None:
    found = encode(kind, clip_skip=2)
    wanted = plain(zoo.built(kind), clip_skip=1)  # diffusers counts layers skipped, and only for the prompt
    names = ("prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    assert_equal({name: found[name] for name in names}, {name: wanted[name] for name in names})
    shorter = plain(without_last_layers(kind, 1))
    torch.testing.assert_close(
        found["negative_prompt_embeds"], shorter["negative_prompt_embeds"], rtol=0, atol=ROUNDING
    )


@pytest.mark.parametrize(("kind", "clip_skip", "most"), [("sd1", 4, 3), ("sd1", 0, 3), ("sdxl", 3, 2), ("sd3", 9, 2)])
def test_clip_skip_beyond_the_layers_is_refused(kind: str, clip_skip: int, most: int) -> None:
    with pytest.raises(InputError, match=f"Clip skip {clip_skip}") as refused:
        encode(kind, clip_skip=clip_skip)
    assert refused.value.hint == f"use 1 to {most}"


def test_clip_skip_is_refused_where_no_hidden_state_is_read() -> None:
    with pytest.raises(InputError, match="Clip skip 2"):
        encode("flux-dev", clip_skip=2)


# --- what families do in their own way


def test_an_empty_negative_prompt_is_zeros_where_the_model_was_trained_so() -> None:
    found = encode("sdxl", negative="")
    assert_equal(found, plain(zoo.built("sdxl"), negative=None))
    assert found["prompt_embeds"].abs().max() > 0
    assert found["negative_prompt_embeds"].abs().max() == 0
    assert found["negative_pooled_prompt_embeds"].abs().max() == 0


def test_an_empty_negative_prompt_is_read_where_the_model_was_not() -> None:
    pipe = zoo.build("sdxl", force_zeros_for_empty_prompt=False)
    assert_equal(encode("sdxl", negative="", model=PlainModel(pipe)), plain(pipe, negative=None))


def test_sdxl_without_its_first_encoder_uses_the_second_alone() -> None:
    model = model_of("sdxl", missing=frozenset({"text_encoder", "tokenizer"}))
    found, both = encode("sdxl", model=model), encode("sdxl")
    assert torch.equal(found["prompt_embeds"], both["prompt_embeds"][..., 16:])
    assert torch.equal(found["pooled_prompt_embeds"], both["pooled_prompt_embeds"])


def test_sd3_without_t5_gets_zeros_in_its_place() -> None:
    pipe: Any = zoo.build("sd3", text_encoder_3=None, tokenizer_3=None)
    found = encode("sd3", model=PlainModel(pipe))
    assert_equal(found, plain(pipe))
    assert found["prompt_embeds"][:, 77:].abs().max() == 0
    assert found["prompt_embeds"].shape[1] == 77 + 256


@pytest.mark.parametrize(
    ("kind", "part"), [("sd1", "text_encoder"), ("sdxl", "tokenizer_2"), ("flux-dev", "text_encoder_2")]
)
def test_a_missing_part_is_named(kind: str, part: str) -> None:
    with pytest.raises(ModelError, match=f"`{part}`"):
        encode(kind, model=model_of(kind, missing=frozenset({part})))


def test_an_encoder_that_asks_for_a_mask_gets_one() -> None:
    pipe: Any = zoo.build("sd1")
    pipe.text_encoder.config.use_attention_mask = True
    found = encode("sd1", model=PlainModel(pipe))
    assert_equal(found, plain(pipe))
    assert (found["prompt_embeds"] - encode("sd1")["prompt_embeds"]).abs().max() > 0.01


def test_embeddings_come_in_the_type_that_the_model_wants() -> None:
    found = encode("sd3", model=model_of("sd3", dtype=torch.bfloat16))
    assert {tensor.dtype for tensor in found.values()} == {torch.bfloat16}


def test_the_negative_prompt_does_not_keep_the_prompt_in_memory() -> None:
    found = encode("sdxl", LONG)
    for tensor in found.values():
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


# --- chunks


@pytest.mark.parametrize("count", [0, 1, 74, 75, 76, 150, 151])
def test_chunks_joined_are_the_ids_of_the_prompt(count: int) -> None:
    ids = list(range(count))
    parts = split(ids, 75)
    assert [index for part in parts for index in part] == ids
    assert len(parts) == max(1, -(-count // 75))
    assert all(len(part) <= 75 for part in parts)


@pytest.mark.parametrize(
    ("ids", "chunks"),
    [
        ([1, 2, -1, -2, 3], [[1, 2], [-1, -2, 3]]),
        ([1, -1, -2, -1, -2], [[1, -1, -2], [-1, -2]]),
        ([1, -1, -2, -4, 2], [[1, -1, -2], [-4, 2]]),
        ([1, -1, -2, -3, -4, 2], [[1, -1, -2], [-3, -4, 2]]),  # no chunk could hold them
    ],
)
def test_the_vectors_of_an_embedding_stay_in_one_chunk_if_one_can_hold_them(
    ids: list[int], chunks: list[list[int]]
) -> None:
    assert split(ids, 3) == chunks


def test_the_rows_of_a_long_prompt_hold_all_its_ids_in_order() -> None:
    pipe: Any = zoo.built("sd1")
    tokenizer = pipe.tokenizer
    (rows,) = chunk_rows([(tokenizer, pipe.text_encoder)], [LONG])
    special = {tokenizer.bos_token_id, tokenizer.eos_token_id}
    held = [index for index in rows.ids.flatten().tolist() if index not in special]
    assert held == tokenizer(LONG, verbose=False)["input_ids"][1:-1]
    assert len(held) > 500
    assert rows.ids.shape == (rows.chunks, 77)


@pytest.mark.parametrize(("kind", "pad_id"), [("sd1", "end"), ("sd2", 0)])
def test_padding_is_what_the_tokenizer_says(kind: str, pad_id: int | str) -> None:
    pipe: Any = zoo.built(kind)
    end = pipe.tokenizer.eos_token_id
    (rows,) = chunk_rows([(pipe.tokenizer, pipe.text_encoder)], ["red"])
    assert rows.ids[0, 2] == end
    assert set(rows.ids[0, 3:].tolist()) == {end if pad_id == "end" else pad_id}
    assert rows.mask[0].tolist() == [1] * 3 + [0] * 74


def test_shorter_texts_are_filled_with_empty_chunks() -> None:
    pipe: Any = zoo.built("sd1")
    readers = [(pipe.tokenizer, pipe.text_encoder)]
    (rows,) = chunk_rows(readers, ["red", " ".join(["blue"] * 100)])
    (empty,) = chunk_rows(readers, [""])
    assert rows.chunks == 2
    assert torch.equal(rows.ids[1], empty.ids[0])


def test_encoders_whose_tokenizers_differ_get_the_same_number_of_chunks() -> None:
    pipe: Any = zoo.built("sdxl")
    spelling: Any = zoo.clip_tokenizer()
    spelling.backend_tokenizer.model = type(spelling.backend_tokenizer.model)(
        vocab=spelling.get_vocab(), merges=[], end_of_word_suffix="</w>", unk_token=zoo.END
    )
    prompt = " ".join(["triangle"] * 30)  # 30 tokens for one, 240 for the other
    first, second = chunk_rows([(pipe.tokenizer, pipe.text_encoder), (spelling, pipe.text_encoder_2)], [prompt])
    assert first.chunks == second.chunks == 4


def test_a_tokenizer_without_a_length_is_bounded_by_its_encoder() -> None:
    pipe: Any = zoo.built("sd1")
    tokenizer: Any = zoo.clip_tokenizer()
    tokenizer.model_max_length = int(1e30)
    assert ChunkFormat.of(tokenizer, pipe.text_encoder).size == 75


def test_tokenising_a_long_prompt_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer: Any = zoo.clip_tokenizer()
    library = logging.getLogger("transformers")
    library.addHandler(caplog.handler)
    try:
        assert len(token_ids(tokenizer, LONG)) > 500
    finally:
        library.removeHandler(caplog.handler)
    assert caplog.records == []


def test_chunk_boundaries_are_decided_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe: Any = zoo.built("sd1")
    monkeypatch.setattr(chunks, "split", lambda ids, size: [list(ids), []])
    (rows,) = chunk_rows([(pipe.tokenizer, pipe.text_encoder)], ["red"])
    assert rows.chunks == 2
