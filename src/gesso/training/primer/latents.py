"""The pictures of a training: rendered, encoded by the VAE, and kept on the disk."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from gesso.core.files import write_atomically
from gesso.primer.caption import caption
from gesso.primer.render import render
from gesso.primer.scene import Scene, random_scene
from gesso.training.primer.chance import dice
from gesso.training.primer.networks import Networks
from gesso.training.primer.plan import TrainingPlan

_SHARD = 1000
_CAPTIONS = 4
"""Ways in which each picture is described; every visit takes one of them."""
_ENCODED_AT_ONCE = 25


@dataclass(frozen=True, kw_only=True)
class EncodedPictures:
    """Pictures as the VAE sees them and their captions as the text encoder reads them."""

    latents: Tensor
    """Scaled as the pipeline scales them, float16: [N, 4, H/8, W/8]."""
    tokens: Tensor
    """[N, K, 77], int16: K captions for each picture."""

    def __len__(self) -> int:
        return len(self.latents)


def encoded_pictures(
    networks: Networks, plan: TrainingPlan, *, listener: Callable[[int], None] = lambda _: None
) -> EncodedPictures:
    """The training pictures of `plan`: nothing held out among them. What is on the disk is not encoded again.

    Args:
        listener: told how many pictures there are so far.

    Raises:
        StorageError: the disk is full; what was finished stays.
    """
    folder = plan.out / "latents" / f"{_digest(networks, plan):08x}"
    shards: list[dict[str, Tensor]] = []
    for number in range(-(-plan.pictures // _SHARD)):
        file = folder / f"{number:05d}.safetensors"
        count = min(_SHARD, plan.pictures - number * _SHARD)
        shard = _read(file)
        if shard is None or len(shard["latents"]) != count:
            scenes_dice = dice(plan.seed, "pictures", number)
            scenes = [random_scene(scenes_dice, share_of_two=plan.share_of_two_things) for _ in range(count)]
            shard = encode(networks, scenes, scenes_dice)
            write_atomically(file, safetensors.torch.save(shard))
        shards.append(shard)
        listener(number * _SHARD + count)
    latents, tokens = (torch.cat([shard[name] for shard in shards]) for name in ("latents", "tokens"))
    return EncodedPictures(latents=latents, tokens=tokens)


def held_out_pictures(networks: Networks, plan: TrainingPlan) -> EncodedPictures:
    """Pictures of combinations that training never shows."""
    held_out_dice = dice(plan.validation.seed, "held out")
    scenes = [random_scene(held_out_dice, held_out=True) for _ in range(plan.validation.pictures)]
    shard = encode(networks, scenes, held_out_dice)
    return EncodedPictures(latents=shard["latents"], tokens=shard["tokens"])


@torch.no_grad()
def encode(networks: Networks, scenes: list[Scene], rng: Random) -> dict[str, Tensor]:
    """Draw `scenes`, encode them with the mean of the VAE's distribution, and describe each in several ways."""
    size_px: int = networks.vae.config["sample_size"]
    scale: float = networks.vae.config["scaling_factor"]
    latents: list[Tensor] = []
    for start in range(0, len(scenes), _ENCODED_AT_ONCE):
        drawn = np.stack(
            [np.asarray(render(scene, rng, size_px)) for scene in scenes[start : start + _ENCODED_AT_ONCE]]
        )
        pixels = torch.from_numpy(drawn).permute(0, 3, 1, 2).to(networks.vae.dtype) / 127.5 - 1  # [B, 3, H, W]
        encoded = networks.vae.encode(pixels.to(networks.vae.device)).latent_dist.mode()  # pyright: ignore[reportAttributeAccessIssue]
        latents.append((encoded * scale).to("cpu", torch.float16))
    captions = [caption(scene, rng) for scene in scenes for _ in range(_CAPTIONS)]
    tokens = networks.tokens(captions).to(torch.int16).unflatten(0, (len(scenes), _CAPTIONS))
    return {"latents": torch.cat(latents).contiguous(), "tokens": tokens.contiguous()}


def _digest(networks: Networks, plan: TrainingPlan) -> int:
    """Changes with whatever the encoded pictures depend on, so that no old ones are taken for new ones."""
    digest = zlib.crc32(f"{plan.seed}/{plan.share_of_two_things}/{len(networks.tokenizer)}".encode())
    for tensor in networks.vae.state_dict().values():
        digest = zlib.crc32(tensor.cpu().numpy().tobytes(), digest)
    return digest


def _read(file: Path) -> dict[str, Tensor] | None:
    """The tensors of a shard; `None` if it is not there or damaged: then it is made again."""
    try:
        return safetensors.torch.load(file.read_bytes())
    except (FileNotFoundError, safetensors.SafetensorError):
        return None
