"""How often a model of the primer's world does what its prompt says: it is asked, and its pictures are read back."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image

from gesso.core.errors import InputError
from gesso.core.requests import ImageRequest
from gesso.engine.studio import Studio
from gesso.models.network import unreadable
from gesso.primer.caption import caption
from gesso.primer.prompt import parse
from gesso.primer.reading import UnreadableError, read
from gesso.primer.scene import random_scene
from gesso.primer.score import Kind, Score, compare


@dataclass(kw_only=True)
class Tally:
    """Shares of right facts over many pictures."""

    pictures: int = 0
    unreadable: int = 0
    """Pictures that are none of the primer's world; each of their facts counts as wrong."""
    all_right: int = 0
    asked: Counter[Kind] = field(default_factory=Counter[Kind])
    right: Counter[Kind] = field(default_factory=Counter[Kind])

    def add(self, score: Score, *, readable: bool = True) -> None:
        self.pictures += 1
        self.unreadable += not readable
        self.all_right += score.all_right
        self.asked.update(fact.kind for fact in score.facts)
        self.right.update(fact.kind for fact in score.facts if fact.right)

    def as_dict(self) -> dict[str, float]:
        """`all_facts`, then each kind of fact: shares from 0 to 1. `pictures` and `unreadable` are numbers."""
        shares = {str(kind): round(self.right[kind] / self.asked[kind], 4) for kind in Kind if self.asked[kind]}
        return {
            "all_facts": round(self.all_right / max(1, self.pictures), 4),
            **shares,
            "pictures": self.pictures,
            "unreadable": self.unreadable,
        }


def held_out_prompts(count: int, *, things: int, seed: int = 0) -> list[str]:
    """Prompts that no caption of the training equals: one thing of each was never shown on its background.

    Args:
        things: 1, or 2 in a relation.
    """
    rng = Random(f"{seed}/{things}")
    found: dict[str, None] = {}
    while len(found) < count:
        found[caption(random_scene(rng, share_of_two=things - 1, held_out=True), rng)] = None
    return list(found)


def evaluate(
    studio: Studio,
    *,
    model: str | None = None,
    prompts: int = 500,
    seed: int = 0,
    steps: int | None = 20,
    guidance: float | None = None,
    device: str | None = None,
    watch: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, dict[str, float]]:
    """Ask a model for held-out scenes, half of them with one thing and half with two, and score its pictures.

    Args:
        model: as in `ImageRequest`; the studio's own by default.
        prompts: of both kinds together; each makes one picture, from a seed of its own.
        seed: decides the prompts and the pictures.
        steps, guidance, device: as in `ImageRequest`; `None` is the model's default.
        watch: told after each picture how many are done, of how many.

    Raises:
        InputError: fewer than two prompts.
        GessoError: a request was refused or failed.
    """
    if prompts < 2:
        raise InputError(f"Too few prompts: {prompts}", hint="give at least 2: one of each kind")
    kinds = {"one_object": held_out_prompts(prompts - prompts // 2, things=1, seed=seed)}
    kinds["two_objects"] = held_out_prompts(prompts // 2, things=2, seed=seed)
    tallies = {name: Tally() for name in kinds}
    asked = [(name, prompt) for name, held_out in kinds.items() for prompt in held_out]
    handles = [
        studio.submit(
            ImageRequest(prompt=prompt, model=model, seed=seed + number, steps=steps, guidance=guidance, device=device)
        )
        for number, (_, prompt) in enumerate(asked)
    ]
    try:
        for done, ((name, prompt), handle) in enumerate(zip(asked, handles, strict=True), start=1):
            (picture,) = handle.result().images
            score_into(tallies[name], prompt, picture)
            watch(done, len(asked))
    except BaseException:
        for handle in handles:
            handle.cancel()
        raise
    return {name: tally.as_dict() for name, tally in tallies.items()}


def score_into(tally: Tally, prompt: str, picture: Image.Image) -> None:
    """Add the score of one picture. One that cannot be read has nothing right."""
    asked = parse(prompt)
    try:
        tally.add(compare(asked, read(picture)))
    except UnreadableError:
        tally.add(Score.of_nothing(asked), readable=False)


def vae_round_trip(folder: Path) -> Callable[[Image.Image], Image.Image]:
    """What the VAE of a pipeline folder makes of a picture: encoded (the mean) and decoded again, float32 on the CPU.

    Raises:
        ModelError: there is no VAE that can be read.
    """
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    try:
        vae: Any = AutoencoderKL.from_pretrained(folder, subfolder="vae", torch_dtype=torch.float32).eval()
    except (OSError, ValueError) as error:
        raise unreadable("vae", folder, error) from error

    @torch.no_grad()
    def through(picture: Image.Image) -> Image.Image:
        pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None].float() / 127.5 - 1
        decoded = vae.decode(vae.encode(pixels).latent_dist.mode()).sample[0].clamp(-1, 1)  # [3, H, W]
        return Image.fromarray(((decoded + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())

    return through
