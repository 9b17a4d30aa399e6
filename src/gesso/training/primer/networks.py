"""The networks of a training: those that learn, their averages, and the VAE and tokenizer that stay as they are."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from gesso.core.errors import ModelError
from gesso.core.files import write_atomically
from gesso.training.primer.chance import generator
from gesso.training.primer.plan import TrainingPlan

_FILES = {"unet": "diffusion_pytorch_model.safetensors", "text_encoder": "model.safetensors"}


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Everything that a step computes with, float32."""

    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    vae: AutoencoderKL
    tokenizer: Any
    alphas_cumprod: Tensor
    """Share of the picture in the signal's power at each timestep: [T]."""

    def learning(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters that learn, by `network/name`."""
        for network in ("unet", "text_encoder"):
            for name, parameter in getattr(self, network).named_parameters():
                yield f"{network}/{name}", parameter

    def tokens(self, captions: list[str]) -> Tensor:
        """Token ids as the pipeline makes them: [B, 77]."""
        return self.tokenizer(
            captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        ).input_ids


def load_networks(plan: TrainingPlan) -> Networks:
    """The networks of `plan.start`, or fresh ones of their form.

    Raises:
        ModelError: the folder is not a `StableDiffusionPipeline` with v-prediction, or a part of it is broken.
    """
    start = plan.start
    try:
        networks = Networks(
            unet=UNet2DConditionModel.from_pretrained(start, subfolder="unet", torch_dtype=torch.float32),
            text_encoder=CLIPTextModel.from_pretrained(start, subfolder="text_encoder", dtype=torch.float32),
            vae=AutoencoderKL.from_pretrained(start, subfolder="vae", torch_dtype=torch.float32)
            .eval()
            .requires_grad_(False),
            tokenizer=CLIPTokenizer.from_pretrained(start, subfolder="tokenizer"),
            alphas_cumprod=_alphas_cumprod(start),
        )
    except (OSError, ValueError, KeyError, RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"`{start}` could not be read as a Stable Diffusion folder: {reason}") from error
    return _fresh(networks, plan) if plan.fresh else networks


def _alphas_cumprod(start: Path) -> Tensor:
    scheduler: Any = DDIMScheduler.from_pretrained(start, subfolder="scheduler")
    if scheduler.config.prediction_type != "v_prediction":
        raise ModelError(
            f"`{start}` predicts `{scheduler.config.prediction_type}`; this training knows v-prediction only"
        )
    return scheduler.alphas_cumprod


def _fresh(networks: Networks, plan: TrainingPlan) -> Networks:
    """Networks of the same form with random weights, which depend on nothing but the plan's seed."""
    unet_config = dict(networks.unet.config)
    if plan.unet_channels is not None:
        unet_config["block_out_channels"] = plan.unet_channels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(plan.seed, "weights").initial_seed())
        return Networks(
            unet=UNet2DConditionModel.from_config(unet_config),  # pyright: ignore[reportArgumentType]
            text_encoder=CLIPTextModel(networks.text_encoder.config),
            vae=networks.vae,
            tokenizer=networks.tokenizer,
            alphas_cumprod=networks.alphas_cumprod,
        )


def export(networks: Networks, average: dict[str, Tensor], *, start: Path, folder: Path) -> None:
    """Write a complete pipeline folder whose learning networks have the averaged weights, float16.

    Each file appears whole or not at all.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    for source in sorted(path for path in start.rglob("*") if path.suffix in {".json", ".safetensors"}):
        name = source.relative_to(start)
        data = source.read_bytes()
        if name == Path("unet/config.json"):
            config = json.loads(data) | {"block_out_channels": list(networks.unet.config["block_out_channels"])}
            data = (json.dumps(config, indent=2) + "\n").encode()
        if name.parts[0] not in _FILES or name.name != _FILES[name.parts[0]]:
            write_atomically(folder / name, data)
    for network, file_name in _FILES.items():
        state: dict[str, Tensor] = getattr(networks, network).state_dict()
        prefix = f"{network}/"
        state |= {name.removeprefix(prefix): value for name, value in average.items() if name.startswith(prefix)}
        tensors = {key: value.detach().to("cpu", torch.float16).contiguous() for key, value in state.items()}
        write_atomically(folder / network / file_name, safetensors.torch.save(tensors, metadata={"format": "pt"}))
