"""The networks of a training: read from a pipeline folder, made anew, and written as one again."""

import json
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
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
from gesso.training.primer.plan import Part, TrainingPlan


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Everything that a step of the denoiser computes with, float32."""

    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    vae: AutoencoderKL
    tokenizer: Any
    alphas_cumprod: Tensor
    """Share of the picture in the signal's power at each timestep: [T]."""

    def tokens(self, captions: list[str]) -> Tensor:
        """Token ids as the pipeline makes them: [B, 77]."""
        return tokens_of(self.tokenizer, captions)


def read_tokenizer(start: Path) -> Any:
    """That of a pipeline folder."""
    return CLIPTokenizer.from_pretrained(start, subfolder="tokenizer")


def tokens_of(tokenizer: Any, captions: list[str]) -> Tensor:
    """Token ids as the pipeline makes them: [B, 77]."""
    return tokenizer(captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids


def load_networks(plan: TrainingPlan) -> Networks:
    """The networks of `plan.start`; of those that learn, fresh ones of their form if the plan says so.

    Raises:
        ModelError: the folder is not a `StableDiffusionPipeline` with v-prediction, or a part of it is broken.
    """
    start = plan.start
    with _telling_what_is_wrong(start):
        networks = Networks(
            unet=UNet2DConditionModel.from_pretrained(start, subfolder="unet", torch_dtype=torch.float32),
            text_encoder=CLIPTextModel.from_pretrained(start, subfolder="text_encoder", dtype=torch.float32),
            vae=_read_vae(start),
            tokenizer=read_tokenizer(start),
            alphas_cumprod=_alphas_cumprod(start),
        )
    return _fresh(networks, plan) if plan.fresh else networks


def load_vae(plan: TrainingPlan) -> AutoencoderKL:
    """The VAE of `plan.start`; fresh in the part that learns if the plan says so.

    Raises:
        ModelError: the folder holds none, or a broken one.
    """
    with _telling_what_is_wrong(plan.start):
        vae = _read_vae(plan.start)
    if not plan.fresh:
        return vae
    config = dict(vae.config)
    if plan.vae_channels is not None:
        config["block_out_channels"] = plan.vae_channels
    with _weights_by_chance(plan):
        fresh: Any = AutoencoderKL.from_config(config)
    fresh.eval().requires_grad_(False)
    if plan.part is Part.DECODER:
        fresh.encoder, fresh.quant_conv = vae.encoder, vae.quant_conv
    return fresh


def write_pipeline(start: Path, folder: Path, *, changed: Mapping[Path, bytes]) -> None:
    """Write the pipeline of `start` to `folder`, with other files in the places of some.

    Each file appears whole or not at all.

    Args:
        changed: contents by the path in the folder.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    kept = {path.relative_to(start) for path in start.rglob("*") if path.suffix in {".json", ".safetensors"}}
    for name in sorted(kept - changed.keys()):
        write_atomically(folder / name, (start / name).read_bytes())
    for name, data in changed.items():
        write_atomically(folder / name, data)


def in_float16(network: nn.Module) -> bytes:
    """The weights of `network` as a file of a pipeline folder."""
    state = network.state_dict()
    tensors = {name: value.detach().to("cpu", torch.float16).contiguous() for name, value in state.items()}
    return safetensors.torch.save(tensors, metadata={"format": "pt"})


def with_changes(config: Path, **changes: Any) -> bytes:
    """The JSON file `config` of a pipeline folder, with some of its values changed."""
    return as_json(json.loads(config.read_bytes()) | changes)


def as_json(value: dict[str, Any]) -> bytes:
    """`value` as a JSON file of a pipeline folder."""
    return (json.dumps(value, indent=2) + "\n").encode()


def mixed_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Networks called in the block compute in bfloat16 where a GPU does it faster; their weights stay float32."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def made_fast(network: nn.Module, plan: TrainingPlan) -> None:
    """Lay the weights of `network` out as convolutions like them, and compile it if the plan says so."""
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if plan.compile:
        network.compile(dynamic=False)  # of the few shapes that there are each deserves kernels of its own


@contextmanager
def _telling_what_is_wrong(start: Path) -> Generator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"`{start}` could not be read as a Stable Diffusion folder: {reason}") from error


def _read_vae(start: Path) -> AutoencoderKL:
    vae: Any = AutoencoderKL.from_pretrained(start, subfolder="vae", torch_dtype=torch.float32)
    return vae.eval().requires_grad_(False)


def _alphas_cumprod(start: Path) -> Tensor:
    scheduler: Any = DDIMScheduler.from_pretrained(start, subfolder="scheduler")
    if scheduler.config.prediction_type != "v_prediction":
        raise ModelError(
            f"`{start}` predicts `{scheduler.config.prediction_type}`; this training knows v-prediction only"
        )
    return scheduler.alphas_cumprod


def _fresh(networks: Networks, plan: TrainingPlan) -> Networks:
    """A denoiser of the same form with random weights."""
    unet_config = dict(networks.unet.config)
    if plan.unet_channels is not None:
        unet_config["block_out_channels"] = plan.unet_channels
    text_config = copy(networks.text_encoder.config)
    if plan.text_layers is not None:
        text_config.num_hidden_layers = plan.text_layers
    with _weights_by_chance(plan):
        return Networks(
            unet=UNet2DConditionModel.from_config(unet_config),  # pyright: ignore[reportArgumentType]
            text_encoder=CLIPTextModel(text_config),
            vae=networks.vae,
            tokenizer=networks.tokenizer,
            alphas_cumprod=networks.alphas_cumprod,
        )


@contextmanager
def _weights_by_chance(plan: TrainingPlan) -> Generator[None]:
    """Networks made in the block depend on nothing but the plan's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(plan.seed, "weights").initial_seed())
        yield
