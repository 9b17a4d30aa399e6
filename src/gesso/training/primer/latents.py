"""The pictures that the denoiser learns from: rendered, encoded by the VAE, and kept on the disk."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from gesso.primer.caption import caption
from gesso.primer.render import render
from gesso.primer.scene import Scene, random_scene
from gesso.training.primer.chance import dice
from gesso.training.primer.networks import Networks, read_tokenizer, tokens_of
from gesso.training.primer.plan import TrainingPlan
from gesso.training.primer.shards import Shard, kept

_CAPTIONS = 4
"""Ways in which each picture is described; every visit takes one of them."""
_ENCODED_AT_ONCE = {"cpu": 25, "cuda": 250}
"""By the kind of device: few stay in the caches of a CPU, a GPU wants many."""


@dataclass(frozen=True, kw_only=True)
class EncodedPictures:
    """Pictures as the VAE sees them and their captions as the text encoder reads them."""

    latents: Tensor
    """Scaled as the pipeline scales them, float16: [N, 4, H/8, W/8]."""
    tokens: Tensor
    """[N, K, 77], int16: K captions for each picture."""

    def __len__(self) -> int:
        return len(self.latents)

    def to(self, device: torch.device) -> "EncodedPictures":
        """The same on `device`, so that no step waits for them."""
        return EncodedPictures(latents=self.latents.to(device), tokens=self.tokens.to(device))


def encoded_pictures(
    networks: Networks, plan: TrainingPlan, *, listener: Callable[[int], None] = lambda _: None
) -> EncodedPictures:
    """The training pictures of `plan`: nothing held out among them. What is on the disk is not encoded again.

    Args:
        listener: told how many pictures there are so far.

    Raises:
        StorageError: the disk is full; what was finished stays.
    """
    shard = kept(
        plan.out / "latents" / f"{_digest(networks, plan):08x}",
        plan.pictures,
        partial(drawn, plan, networks.vae.config["sample_size"]),
        finish=partial(_encoded, networks.vae),
        workers=plan.workers,
        listener=listener,
    )
    return EncodedPictures(latents=shard["latents"], tokens=shard["tokens"])


def held_out_pictures(networks: Networks, plan: TrainingPlan) -> EncodedPictures:
    """Pictures of combinations that training never shows."""
    held_out_dice = dice(plan.validation.seed, "held out")
    scenes = [random_scene(held_out_dice, held_out=True) for _ in range(plan.validation.pictures)]
    size_px: int = networks.vae.config["sample_size"]
    shard = _encoded(networks.vae, _described(networks.tokenizer, scenes, held_out_dice, size_px))
    return EncodedPictures(latents=shard["latents"], tokens=shard["tokens"])


def drawn(plan: TrainingPlan, size_px: int, number: int, count: int) -> Shard:
    """Shard `number` of the training pictures of `plan`, as pixels: uint8 [N, 3, H, W], and tokens."""
    rng = dice(plan.seed, "pictures", number)
    scenes = [random_scene(rng, share_of_two=plan.share_of_two_things) for _ in range(count)]
    return _described(_tokenizer(plan.start), scenes, rng, size_px)


@cache
def _tokenizer(start: Path) -> Any:
    return read_tokenizer(start)


def _described(tokenizer: Any, scenes: list[Scene], rng: Random, size_px: int) -> Shard:
    """Draw `scenes` and describe each in several ways."""
    pictures = np.stack([np.asarray(render(scene, rng, size_px)) for scene in scenes])
    captions = [caption(scene, rng) for scene in scenes for _ in range(_CAPTIONS)]
    tokens = tokens_of(tokenizer, captions).to(torch.int16).unflatten(0, (len(scenes), _CAPTIONS))
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2)  # [N, 3, H, W]
    return {"pixels": pixels.contiguous(), "tokens": tokens.contiguous()}


def _encoded(vae: AutoencoderKL, shard: Shard) -> Shard:
    return {"latents": latents_of(vae, shard["pixels"]), "tokens": shard["tokens"]}


@torch.no_grad()
def latents_of(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    """The means of what the VAE encodes. Pixels: uint8 [N, 3, H, W]; latents: as in `EncodedPictures`."""
    scale: float = vae.config["scaling_factor"]
    latents: list[Tensor] = []
    at_once = _ENCODED_AT_ONCE.get(vae.device.type, _ENCODED_AT_ONCE["cpu"])
    for some in pixels.split(at_once):
        encoded = vae.encode(signed(some.to(vae.device))).latent_dist.mode()  # pyright: ignore[reportAttributeAccessIssue]
        latents.append((encoded * scale).to("cpu", torch.float16))
    return torch.cat(latents).contiguous()


def signed(pixels: Tensor) -> Tensor:
    """Bytes as the VAE takes them: -1 … 1, float32."""
    return pixels.float() / 127.5 - 1


def _digest(networks: Networks, plan: TrainingPlan) -> int:
    """Changes with whatever the encoded pictures depend on, so that no old ones are taken for new ones."""
    digest = zlib.crc32(f"{plan.seed}/{plan.share_of_two_things}/{len(networks.tokenizer)}".encode())
    for tensor in networks.vae.state_dict().values():
        digest = zlib.crc32(tensor.cpu().numpy().tobytes(), digest)
    return digest
