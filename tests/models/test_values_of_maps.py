"""What a map makes of the values is what diffusers' own reader of single files makes of them.

There and back proves nothing of that: a mistake made twice cancels out.
"""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.loaders import single_file_utils as theirs
from safetensors.torch import save_file

from gesso.models.headers.read import read_weights_header
from gesso.models.single_files.find import find_network
from gesso.models.single_files.known_models import known_models
from gesso.models.single_files.tensors import tensors_of
from thin_models import FULL, original_shapes, released_networks

State = dict[str, torch.Tensor]


def narrow_state(release: str, prefix: str) -> State:
    """The network's tensors as released, but for one column each: outputs are what maps split, join and swap."""
    generator = torch.Generator().manual_seed(1)
    shapes = {name: shape for name, shape in original_shapes(release).items() if name.startswith(prefix)}
    return {
        name: torch.randn((shape[0], *[1] * (len(shape) - 1)), generator=generator) for name, shape in shapes.items()
    }


def read_by_diffusers(class_name: str, state: State, prefix: str, config: Mapping[str, Any]) -> State:
    match class_name:
        case "UNet2DConditionModel":
            return theirs.convert_ldm_unet_checkpoint(state, dict(config))
        case "AutoencoderKL":
            return theirs.convert_ldm_vae_checkpoint(state, dict(config))
        case "SD3Transformer2DModel":
            return theirs.convert_sd3_transformer_checkpoint_to_diffusers(state)
        case "FluxTransformer2DModel":
            return theirs.convert_flux_transformer_checkpoint_to_diffusers(state)
        case _ if prefix.endswith(".model."):
            encoder = SimpleNamespace(config=SimpleNamespace(hidden_size=config["hidden_size"]))
            return theirs.convert_open_clip_checkpoint(encoder, state, prefix=prefix)
        case _:
            return theirs.convert_ldm_clip_checkpoint(state, remove_prefix=prefix)


CASES = [
    *(("sd1", name) for name in ("unet", "vae", "text_encoder")),
    *(("sd2", name) for name in ("unet", "text_encoder")),
    *(("sdxl", name) for name in ("unet", "vae", "text_encoder_2")),
    ("sdxl-refiner", "unet"),
    *(("sd3-medium", name) for name in ("transformer", "vae")),
    ("sd3.5-medium", "transformer"),
    ("sd3.5-large", "transformer"),
    ("flux1-dev", "transformer"),
    ("flux1-schnell", "transformer"),
]


@pytest.mark.parametrize(("release", "name"), CASES)
def test_the_values_are_those_that_diffusers_reads(release: str, name: str, tmp_path: Path) -> None:
    part, _ = released_networks(release)[name]
    prefix = known_models()[FULL[release][0]].prefixes[name][0]
    state = narrow_state(release, prefix)
    save_file(state, tmp_path / "some.safetensors")
    path = tmp_path / "some.safetensors"
    tensors = read_weights_header(path).tensors
    found = find_network(path, tensors, part.class_name, part.config, (prefix,), fit=False)
    assert found is not None
    assert found.missing == ()
    ours = tensors_of(found.view)
    expected = read_by_diffusers(part.class_name, dict(state), prefix, part.config)
    assert ours.keys() == expected.keys()
    for key, tensor in expected.items():
        assert torch.equal(ours[key], tensor), key
