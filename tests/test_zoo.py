"""The zoo is fit for its purpose: its pipelines are small, repeatable, and paint pictures that tell things apart."""

# pyright: reportPrivateImportUsage=false
# (diffusers exports its names lazily)

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from torch import nn

import zoo

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CHATTY = ("flux2", "flux2-klein", "flux2-klein-base", "qwen-image", "ovis", "aura-flow", "bria")
"""Kinds whose prompts are read inside a conversation, or among padding that is not masked."""


def paint(pipe: Any, prompt: str = "a red circle", seed: int = 0) -> np.ndarray:
    """[H, W, 3] in 0..1."""
    size = {"width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX}
    generator = torch.Generator().manual_seed(seed)
    made: type = type(pipe)
    kind = next((kind for kind, (pipeline_class, _) in zoo.RECIPES.items() if pipeline_class is made), "")
    arguments: dict[str, Any] = {**size, **zoo.ARGUMENTS.get(kind, {})}
    return pipe(prompt=prompt, **arguments, num_inference_steps=4, generator=generator, output_type="np").images[0]


@pytest.mark.parametrize("kind", zoo.KINDS)
def test_pictures_differ_by_prompt_seed_and_weights_and_by_nothing_else(kind: str) -> None:
    picture = paint(zoo.built(kind))
    assert picture.shape == (zoo.PICTURE_PX, zoo.PICTURE_PX, 3)
    assert np.isfinite(picture).all()
    assert picture.std() > 0.1
    assert ((picture == 0) | (picture == 1)).mean() < 0.2  # clipped
    assert np.array_equal(picture, paint(zoo.build(kind)))
    # A few words among hundreds of tokens, most of which are the same for every prompt, weigh less.
    assert np.abs(picture - paint(zoo.built(kind), "a blue star")).mean() > (1e-3 if kind in CHATTY else 5e-3)
    for other in (paint(zoo.built(kind), seed=1), paint(zoo.build(kind, 1))):
        assert np.abs(picture - other).mean() > 5e-3


@pytest.mark.parametrize("kind", zoo.KINDS)
def test_a_saved_pipeline_loads_and_paints_the_same(kind: str) -> None:
    loaded = DiffusionPipeline.from_pretrained(zoo.saved(kind), local_files_only=True)
    loaded.set_progress_bar_config(disable=True)
    assert type(loaded) is type(zoo.built(kind))
    # Not the bytes: loaded weights lie in a mapped file, aligned otherwise than fresh ones.
    np.testing.assert_allclose(paint(loaded), paint(zoo.built(kind)), atol=5e-5)


@pytest.mark.parametrize("kind", zoo.KINDS)
def test_networks_are_small(kind: str) -> None:
    networks = [part for part in zoo.built(kind).components.values() if isinstance(part, nn.Module)]
    assert sum(parameter.numel() for network in networks for parameter in network.parameters()) < 700_000


def test_building_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    zoo.build("sd1")
    zoo.safety_checker()
    assert torch.equal(before, torch.get_rng_state())


def test_words_are_one_token_and_other_text_is_spelt() -> None:
    for tokenizer in (zoo.clip_tokenizer(), zoo.t5_tokenizer()):
        ids = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in zoo.WORDS]
        assert [len(found) for found in ids] == [1] * len(zoo.WORDS)
        assert len({found[0] for found in ids}) == len(zoo.WORDS)
        assert len(tokenizer("zeppelin", add_special_tokens=False)["input_ids"]) >= len("zeppelin")


@pytest.mark.parametrize("flags", [True, False])
def test_the_safety_checker_flags_as_told(flags: bool) -> None:
    pipe: Any = zoo.build("sd1", **zoo.safety_checker(flags=flags))
    found = pipe("a cat", width=zoo.PICTURE_PX, height=zoo.PICTURE_PX, num_inference_steps=1)
    assert found.nsfw_content_detected == [flags]
