"""The pictures that the VAE learns from: rendered, encoded if the encoder stays as it is, and kept on the disk."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from random import Random

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from gesso.primer.render import Place, draw, place
from gesso.primer.scene import Fill, Scene, random_scene
from gesso.training.primer.chance import dice
from gesso.training.primer.latents import latents_of
from gesso.training.primer.plan import Part, TrainingPlan
from gesso.training.primer.shards import Shard, kept

_MADE_STRIPED = 0.35
"""Share of the things that become striped if they were not. Stripes are what a VAE loses first and a quarter of the
world's things have them; so it is half of those that it learns from."""


@dataclass(frozen=True, kw_only=True)
class Renders:
    """Pictures, and where to look on them."""

    pixels: Tensor
    """uint8: [N, 3, H, W]."""
    middles: Tensor
    """Where the things stand, as shares of the sides from the left and from the top, float32: [N, 2, 2]. A thing that
    is alone is there twice."""
    latents: Tensor | None
    """Scaled as the pipeline scales them, float16: [N, 4, H/8, W/8]; `None` where the encoder learns too."""

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device) -> "Renders":
        """The same on `device`, so that no step waits for them."""
        latents = None if self.latents is None else self.latents.to(device)
        return Renders(pixels=self.pixels.to(device), middles=self.middles.to(device), latents=latents)


def renders(vae: AutoencoderKL, plan: TrainingPlan, *, listener: Callable[[int], None] = lambda _: None) -> Renders:
    """The training pictures of `plan`: nothing held out among them. What is on the disk is not made again.

    Args:
        listener: told how many pictures there are so far.

    Raises:
        StorageError: the disk is full; what was finished stays.
    """

    return _of(
        kept(
            plan.out / "renders" / f"{_digest(vae, plan):08x}",
            plan.pictures,
            partial(drawn, plan, vae.config["sample_size"]),
            finish=partial(_finished, vae, plan),
            workers=plan.workers,
            listener=listener,
        )
    )


def held_out_renders(vae: AutoencoderKL, plan: TrainingPlan) -> Renders:
    """Pictures of combinations that training never shows, as often striped as anywhere in the world."""
    rng = dice(plan.validation.seed, "held out")
    scenes = [random_scene(rng, held_out=True) for _ in range(plan.validation.pictures)]
    return _of(_finished(vae, plan, _drawn(scenes, rng, vae.config["sample_size"])))


def drawn(plan: TrainingPlan, size_px: int, number: int, count: int) -> Shard:
    """Shard `number` of the training pictures of `plan`, without latents."""
    rng = dice(plan.seed, "renders", number)
    scenes = [random_scene(rng, share_of_two=plan.share_of_two_things) for _ in range(count)]
    return _drawn([more_striped(scene, rng) for scene in scenes], rng, size_px)


def more_striped(scene: Scene, rng: Random) -> Scene:
    """`scene`, in which chance gave some solid things stripes."""
    things = (replace(thing, fill=Fill.STRIPED) if rng.random() < _MADE_STRIPED else thing for thing in scene.things)
    return replace(scene, things=tuple(things))


def _drawn(scenes: list[Scene], rng: Random, size_px: int) -> Shard:
    places = [place(scene, rng) for scene in scenes]
    pictures = [np.asarray(draw(scene, where, size_px)) for scene, where in zip(scenes, places, strict=True)]
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    return {"pixels": pixels, "middles": torch.tensor([_middles(where) for where in places])}


def _finished(vae: AutoencoderKL, plan: TrainingPlan, shard: Shard) -> Shard:
    return shard | ({"latents": latents_of(vae, shard["pixels"])} if plan.part is Part.DECODER else {})


def _middles(places: tuple[Place, ...]) -> list[tuple[float, float]]:
    return [(where.x, where.y) for where in (places[0], places[-1])]


def _of(shard: Shard) -> Renders:
    return Renders(pixels=shard["pixels"], middles=shard["middles"], latents=shard.get("latents"))


def _digest(vae: AutoencoderKL, plan: TrainingPlan) -> int:
    """Changes with whatever the pictures depend on, so that no old ones are taken for new ones."""
    size_px: int = vae.config["sample_size"]
    digest = zlib.crc32(f"{plan.part}/{plan.seed}/{plan.share_of_two_things}/{_MADE_STRIPED}/{size_px}".encode())
    if plan.part is Part.DECODER:
        for network in (vae.encoder, vae.quant_conv):
            for tensor in network.state_dict().values() if network is not None else ():
                digest = zlib.crc32(tensor.cpu().numpy().tobytes(), digest)
    return digest
