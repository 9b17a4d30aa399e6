"""A training that takes a second: the primer's tokenizer and VAE, with a UNet and a text encoder of next to nothing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel

from gesso.primer import weights_folder
from gesso.training.primer.plan import TrainingPlan

MakePlan = Callable[..., TrainingPlan]


@pytest.fixture(scope="session")
def thin_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The primer's folder with a text encoder of 16 channels; to be begun with `fresh`, since its UNet is the primer's
    by its weights and a thin one by its config."""
    folder = tmp_path_factory.mktemp("thin") / "start"
    shutil.copytree(weights_folder(), folder)
    config = CLIPTextConfig.from_pretrained(folder / "text_encoder")
    for name, value in {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "projection_dim": 16,
    }.items():
        setattr(config, name, value)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPTextModel(config).half().save_pretrained(folder / "text_encoder")
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        unet_config: dict[str, Any] = json.loads((folder / "unet" / "config.json").read_text())
        unet_config |= {"cross_attention_dim": 16, "block_out_channels": [8, 8, 16]}
        unet: Any = UNet2DConditionModel.from_config(unet_config)
        unet.half().save_pretrained(folder / "unet")
    return folder


@pytest.fixture(scope="session")
def thin_vae_start(thin_start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a VAE of 8 channels that has learned nothing."""
    folder = tmp_path_factory.mktemp("thin-vae") / "start"
    shutil.copytree(thin_start, folder)
    config: dict[str, Any] = json.loads((folder / "vae" / "config.json").read_text())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae: Any = AutoencoderKL.from_config(config | {"block_out_channels": [8, 8, 8, 8], "scaling_factor": 1.25})
        vae.half().save_pretrained(folder / "vae")
    return folder


@pytest.fixture
def plan(thin_start: Path, tmp_path: Path) -> MakePlan:
    """A plan of four steps on a few pictures."""

    def made(**fields: Any) -> TrainingPlan:
        defaults: dict[str, Any] = {
            "out": tmp_path / "out",
            "start": thin_start,
            "seed": 3,
            "pictures": 12,
            "batch_size": 4,
            "steps": 4,
            "warmup_steps": 1,
            "cooldown_steps": 2,
            "log_every_steps": 1,
            "validation": {"pictures": 4},
        }
        return TrainingPlan.model_validate(defaults | fields)

    return made


@pytest.fixture
def vae_plan(plan: MakePlan, thin_vae_start: Path) -> MakePlan:
    """The same for a decoder: two steps on windows, then two on whole pictures."""

    def made(**fields: Any) -> TrainingPlan:
        return plan(**({"part": "decoder", "start": thin_vae_start, "whole_pictures_steps": 2} | fields))

    return made
