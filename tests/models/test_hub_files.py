"""Which files of a repository are taken: as those that would be loaded from a folder of all of them."""

import pytest

from gesso.core.errors import SourceError
from gesso.models.pulling.hub_files import pipeline_files

INDEX = {
    "_class_name": "AuraFlowPipeline",
    "transformer": ["diffusers", "AuraFlowTransformer2DModel"],
    "text_encoder": ["transformers", "UMT5EncoderModel"],
    "tokenizer": ["transformers", "LlamaTokenizerFast"],
    "image_encoder": [None, None],
}
SHARDS = [f"transformer/diffusion_pytorch_model-0000{number}-of-00002.safetensors" for number in (1, 2)]
HALF_SHARDS = [f"transformer/diffusion_pytorch_model-0000{number}-of-00002.fp16.safetensors" for number in (1, 2)]
MARKED_SHARDS = [f"transformer/diffusion_pytorch_model.fp16-0000{number}-of-00002.safetensors" for number in (1, 2)]
PLAIN_INDEX = "transformer/diffusion_pytorch_model.safetensors.index.json"
REST = [
    "model_index.json",
    "transformer/config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/tokenizer.json",
    "tokenizer/special_tokens_map.json",
]


def taken(paths: list[str], variant: str | None = None) -> set[str]:
    return set(pipeline_files([*REST, *paths], INDEX, variant=variant).paths) - set(REST)


def test_shards_come_with_their_index_and_nothing_of_another_variant() -> None:
    half_index = "transformer/diffusion_pytorch_model.safetensors.index.fp16.json"
    everything = [*SHARDS, *HALF_SHARDS, PLAIN_INDEX, half_index, "transformer/diffusion_pytorch_model.bin"]
    assert taken(everything) == {*SHARDS, PLAIN_INDEX}
    assert taken(everything, "fp16") == {*HALF_SHARDS, half_index}


def test_the_variant_may_stand_before_the_number() -> None:
    half_index = "transformer/diffusion_pytorch_model.fp16.safetensors.index.json"
    assert taken([*SHARDS, PLAIN_INDEX, *MARKED_SHARDS, half_index], "fp16") == {*MARKED_SHARDS, half_index}


def test_of_shards_and_a_whole_diffusers_reads_the_shards() -> None:
    whole = "transformer/diffusion_pytorch_model.safetensors"
    assert taken([*SHARDS, PLAIN_INDEX, whole]) == {*SHARDS, PLAIN_INDEX}
    assert taken([*SHARDS, whole]) == {whole}, "without an index they are not read"


def test_half_precision_is_taken_where_there_is_nothing_else() -> None:
    half = "transformer/diffusion_pytorch_model.fp16.safetensors"
    assert taken([half]) == {half}
    assert taken([half, "transformer/diffusion_pytorch_model.bin"]) == {half}, "safetensors before pickles"


def test_pickles_are_taken_where_there_is_nothing_else() -> None:
    pickle = "transformer/diffusion_pytorch_model.bin"
    assert taken([pickle, "transformer/flax_model.msgpack"]) == {pickle}


def test_programs_pictures_and_other_forms_are_left() -> None:
    weights = "transformer/diffusion_pytorch_model.safetensors"
    others = ["pipeline.py", "transformer/model.py", "transformer/model.onnx", "a.png", "aura_flow.safetensors"]
    assert taken([weights, *others, "tokenizer/old/tokenizer.json"]) == {weights}


def test_a_network_in_a_form_that_is_not_fetched_is_told() -> None:
    with pytest.raises(SourceError, match="`transformer`"):
        taken(["transformer/model.onnx"])
