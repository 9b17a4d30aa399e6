"""A weights file is told by its header alone, whatever it is called."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gesso.models.headers.base import FileFormat, TensorShape, WeightsHeader
from gesso.models.headers.read import read_weights_header
from gesso.models.recognition.adapter_keys import read_adapter_keys
from gesso.models.recognition.facts import makers_facts
from gesso.models.recognition.kinds import Recognition
from gesso.models.recognition.recognise import recognise
from specimens import SPECIMENS
from specimens.adapters import loha, lokr
from specimens.base import Specimen, write_safetensors
from specimens.originals import unet


def header_of(shapes: dict[str, tuple[int, ...]], **metadata: str) -> WeightsHeader:
    tensors = {name: TensorShape(dtype="F16", shape=shape) for name, shape in shapes.items()}
    return WeightsHeader(format=FileFormat.SAFETENSORS, tensors=tensors, metadata=metadata)


def said_of(recognition: Recognition) -> dict[str, Any]:
    """As `gesso models show --json` has it."""
    found = {about: conclusion.value for about, conclusion in recognition.conclusions()}
    return {
        "kind": found.get("kind"),
        "network": found.get("network"),
        "variant": found.get("variant"),
        "task": found.get("task"),
        "prediction": found.get("prediction"),
        "algorithm": found.get("algorithm"),
        "layout": found.get("layout"),
        "family": recognition.families[0] if len(recognition.families) == 1 else None,
        "families": list(recognition.families),
        "ranks": list(recognition.ranks),
        "vectors": recognition.vectors,
        "widths": list(recognition.widths.values()),
        "token": recognition.token,
        "holds": [part.value for part in recognition.parts],
        "notes": list(recognition.notes),
    }


@pytest.mark.parametrize("specimen", SPECIMENS.values(), ids=SPECIMENS.keys())
def test_every_kind_of_file_is_told_apart(specimen: Specimen, tmp_path: Path) -> None:
    header = read_weights_header(specimen.write(tmp_path))
    facts = makers_facts(header.metadata)
    said = {**said_of(recognise(header)), "title": facts.title, "base": facts.base, "format": header.format}
    assert {name: said[name] for name in specimen.expected} == specimen.expected


def test_the_specimens_are_many_and_of_every_kind() -> None:
    from gesso.models.recognition.kinds import Kind

    assert len(SPECIMENS) >= 100
    assert {specimen.expected["kind"] for specimen in SPECIMENS.values()} == set(Kind)


@pytest.mark.parametrize("specimen", SPECIMENS.values(), ids=SPECIMENS.keys())
def test_every_conclusion_names_a_key_or_says_that_it_is_a_guess(specimen: Specimen, tmp_path: Path) -> None:
    header = read_weights_header(specimen.write(tmp_path))
    for about, conclusion in recognise(header).conclusions():
        named = any(f"`{key}`" in conclusion.evidence for key in (*header.tensors, *header.metadata))
        assert named or conclusion.guess or about == "prediction" or "widths" in conclusion.evidence, conclusion


@pytest.mark.parametrize("name", ["sd1 checkpoint", "lora of sdxl, kohya", "flux.1 dev"])
def test_neither_name_nor_order_nor_number_format_decide(name: str, tmp_path: Path) -> None:
    specimen = SPECIMENS[name]
    turned = dict(reversed(list(specimen.shapes().items())))
    path = write_safetensors(tmp_path / "sdxl-lora-flux-vae.pt", turned, dtype="F8_E4M3")
    said = said_of(recognise(read_weights_header(path)))
    assert (said["kind"], said["family"]) == (specimen.expected["kind"], specimen.expected["family"])


@pytest.mark.parametrize(
    "name", ["sd1 checkpoint", "lora of flux.1, kohya", "vae of 4 channels", "textual inversion of sdxl"]
)
def test_a_pickle_says_the_same_as_safetensors(name: str, tmp_path: Path) -> None:
    specimen = SPECIMENS[name]
    pickled = replace(specimen, form="ckpt", wrapped=lambda tensors: tensors)
    assert recognise(read_weights_header(pickled.write(tmp_path))) == recognise(
        read_weights_header(specimen.write(tmp_path))
    )


def test_sd2_without_a_word_of_its_prediction_is_called_a_guess() -> None:
    prediction = recognise(header_of({**unet(1024)})).prediction
    assert prediction is not None
    assert prediction.guess
    assert "nothing in the file tells them apart" in prediction.evidence


def test_metadata_that_says_the_prediction_is_no_guess() -> None:
    prediction = recognise(header_of({**unet(1024)}, **{"modelspec.prediction_type": "epsilon"})).prediction
    assert prediction is not None
    assert (prediction.value, prediction.guess) == ("epsilon", False)
    assert prediction.evidence == "`modelspec.prediction_type` is `epsilon`"


def test_structure_wins_over_metadata_that_contradicts_it() -> None:
    said = recognise(header_of({**unet(768)}, **{"modelspec.architecture": "stable-diffusion-xl-v1-base"}))
    assert said.families == ("sd1",)
    assert said.notes == ("its metadata calls it `sdxl`: `modelspec.architecture` is `stable-diffusion-xl-v1-base`",)


def test_evidence_names_the_key_and_its_shape() -> None:
    family = recognise(header_of({**unet(768)})).family
    assert family is not None
    assert family.evidence == "`input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight` is 320x768"


def test_an_unknown_file_is_told_with_its_first_keys() -> None:
    kind = recognise(header_of({f"layer{n}.weight": (n, 3) for n in range(1, 9)})).kind
    assert kind.value == "unknown"
    assert "`layer1.weight` is 1x3, `layer2.weight` is 2x3" in kind.evidence
    assert "layer6" not in kind.evidence


@pytest.mark.parametrize(("make", "rank"), [(loha, 6), (lokr, 6)])
def test_widths_are_put_together_from_the_factors_of_lycoris(
    make: Callable[..., dict[str, tuple[int, ...]]], rank: int
) -> None:
    tensors = header_of(make("lora_unet_x", 768, 320, rank=rank)).tensors
    keys = read_adapter_keys(tensors)
    assert keys is not None
    (layer,) = keys.layers.values()
    assert (layer.width_in, layer.width_out, layer.rank) == (768, 320, rank)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"modelspec.trigger_phrase": "sks dog, a dog"}, ("sks dog", "a dog")),
        ({"ss_tag_frequency": '{"4_sks": {"dog": 3, "sks": 9}, "reg": {"dog": 1}}'}, ("sks", "dog")),
        ({"ss_tag_frequency": "no json"}, ()),
        ({"ss_tag_frequency": '{"a": [1], "b": {"c": "d"}}'}, ()),
        ({}, ()),
    ],
)
def test_trained_words_are_those_of_the_metadata(metadata: dict[str, str], words: tuple[str, ...]) -> None:
    assert makers_facts(metadata).trained_words == words


def test_real_pictures_models_are_read_as_they_are_saved(tmp_path: Path) -> None:
    """Shared storages, views, parameters, an optimizer and plain facts, all in one file by torch."""
    layer = torch.nn.Linear(4, 3)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    shared = torch.arange(20.0, dtype=torch.bfloat16)
    state = {**layer.state_dict(), "parameter": layer.weight, "view": shared[4:16].view(3, 4).T, "shared": shared}
    torch.save({"state_dict": state, "optimizer": optimizer.state_dict(), "lr": 0.5, "global_step": 7}, tmp_path / "a")
    header = read_weights_header(tmp_path / "a")
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in header.tensors.items()} == {
        "weight": ("F32", (3, 4)),
        "bias": ("F32", (3,)),
        "parameter": ("F32", (3, 4)),
        "view": ("BF16", (4, 3)),
        "shared": ("BF16", (20,)),
    }
    assert header.metadata == {"lr": "0.5", "global_step": "7"}


def test_files_from_before_2020_are_read(tmp_path: Path) -> None:
    state = {"a": torch.zeros(3, 4), "b": torch.ones(5, dtype=torch.int8)}
    torch.save({"state_dict": state, "epoch": 1}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    header = read_weights_header(tmp_path / "old.pt")
    assert header.format is FileFormat.TORCH_PICKLE
    assert {name: tensor.shape for name, tensor in header.tensors.items()} == {"a": (3, 4), "b": (5,)}
