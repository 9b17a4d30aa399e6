"""The lesson of the VAE, or of its decoder alone: to give pictures back as they were."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gesso.training.primer import reconstruction
from gesso.training.primer.chance import generator, visited
from gesso.training.primer.latent_space import measure
from gesso.training.primer.latents import signed
from gesso.training.primer.networks import (
    as_json,
    in_float16,
    load_vae,
    made_fast,
    mixed_precision,
    with_changes,
    write_pipeline,
)
from gesso.training.primer.plan import Part, TrainingPlan
from gesso.training.primer.renders import Renders, held_out_renders, renders

_WINDOW = 8
"""Side of a window in latents: 64 of 128 pixels, more than a small thing and most of a large one."""
_WINDOWS_OF_A_PICTURE = 4
_STRAY = 2.0
"""How far the middle of a window may lie from that of its thing, in latents, so that rims come to lie everywhere."""
_MEASURED = 256
"""Pictures from which it is told how large the latents are."""
_VALIDATED_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Pictures, or windows of pictures."""

    pixels: Tensor
    """-1 … 1: [B, 3, 8 h, 8 w]."""
    latents: Tensor | None
    """What the decoder is given: [B, 4, h, w]; `None` where the encoder learns too."""


class Autoencoding:
    """The decoder learns, and the encoder with it or not; everything else stays as it is. A `Lesson`."""

    network = "vae"
    pictures: Renders
    held_out_pictures: Renders

    def __init__(self, plan: TrainingPlan, *, device: torch.device) -> None:
        self.plan = plan
        self.device = device
        self.vae: Any = load_vae(plan).to(device)  # pyright: ignore[reportArgumentType]
        for network in (self.vae.encoder, self.vae.decoder):
            made_fast(network, plan)
        self.scale: float = self.vae.config.scaling_factor
        self.factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        """Pixels that a latent stands for along each side."""
        learning = (self.vae,) if plan.part is Part.VAE else (self.vae.decoder, self.vae.post_quant_conv)
        for network in learning:
            if network is not None:  # some VAEs have no `post_quant_conv`
                network.requires_grad_(True)

    def learning(self) -> Iterator[tuple[str, nn.Parameter]]:
        for name, parameter in self.vae.named_parameters():
            if parameter.requires_grad:
                yield f"vae/{name}", parameter

    def prepare(self, listener: Callable[[int], None] = lambda _: None) -> None:
        self.pictures = renders(self.vae, self.plan, listener=listener).to(self.device)
        self.held_out_pictures = held_out_renders(self.vae, self.plan).to(self.device)

    def loss(self, step: int) -> Tensor:
        chance = generator(self.plan.seed, "step", step, device=self.device)
        batch = self.batch(step, chance)
        with mixed_precision(self.device):
            if batch.latents is not None:
                return self._wrong(batch.latents, batch.pixels)
            encoded = self.vae.encode(batch.pixels).latent_dist
            divergence = encoded.kl().mean() / encoded.mean[0].numel()  # of one latent
            return self._wrong(encoded.sample(chance), batch.pixels) + self.plan.kl_weight * divergence

    def batch(self, step: int, chance: torch.Generator) -> Batch:
        """Windows around things; whole pictures in the last steps, since the sizes of what GroupNorm sees differ."""
        if self._whole_from <= step:
            chosen = visited(self.plan.seed, step, size=self._whole_pictures, total=len(self.pictures))
            return self._whole(self.pictures, chosen.to(self.device))
        chosen = visited(self.plan.seed, step, size=self.plan.batch_size, total=len(self.pictures))
        return self._windows(chosen.to(self.device), chance)

    def seen(self, steps: int) -> int:
        windows = min(steps, self._whole_from)
        return windows * self.plan.batch_size + (steps - windows) * self._whole_pictures

    @torch.no_grad()
    def held_out(self) -> dict[str, float]:
        """L1 of the pixels and their signal-to-noise ratio, on pictures of combinations never shown."""
        distance = square = 0.0
        total = len(self.held_out_pictures)
        for chosen in torch.arange(total).split(_VALIDATED_AT_ONCE):
            batch = self._whole(self.held_out_pictures, chosen)
            latents = batch.latents
            if latents is None:
                latents = self.vae.encode(batch.pixels).latent_dist.mode()
            error = self.vae.decode(latents).sample.clamp(-1, 1) - batch.pixels
            distance += error.abs().mean().item() * len(chosen) / total
            square += error.square().mean().item() * len(chosen) / total
        return {"held_out_loss": round(distance, 5), "held_out_psnr": round(reconstruction.psnr(square), 2)}

    def export(self, folder: Path) -> None:
        """With `part: vae` also the scaling factor and the colours of previews, which the new latents need."""
        start = self.plan.start
        changed = {Path("vae/diffusion_pytorch_model.safetensors"): in_float16(self.vae)}
        if self.plan.part is Part.VAE:
            space = measure(self.vae, self.pictures.pixels[:_MEASURED].cpu())
            changed[Path("vae/config.json")] = with_changes(
                start / "vae" / "config.json",
                scaling_factor=space.scaling_factor,
                block_out_channels=list(self.vae.config.block_out_channels),
            )
            changed[Path("preview.json")] = as_json({"latent_rgb": space.latent_rgb, "bias": space.bias})
        write_pipeline(start, folder, changed=changed)

    @property
    def _whole_from(self) -> int:
        return max(0, self.plan.steps - self.plan.whole_pictures_steps)

    @property
    def _whole_pictures(self) -> int:
        """In a batch; they cost as much as the windows of one."""
        return max(1, self.plan.batch_size // _WINDOWS_OF_A_PICTURE)

    def _whole(self, pictures: Renders, chosen: Tensor) -> Batch:
        latents = pictures.latents
        return Batch(
            pixels=signed(pictures.pixels[chosen]),
            latents=None if latents is None else latents[chosen].float() / self.scale,
        )

    def _windows(self, chosen: Tensor, chance: torch.Generator) -> Batch:
        """For each picture a window at one of its things."""
        rows = torch.arange(len(chosen), device=self.device)
        cells = self.pictures.pixels.shape[-1] // self.factor  # along a side
        side = min(_WINDOW, cells)
        thing = torch.randint(2, (len(chosen),), generator=chance, device=self.device)
        middles = self.pictures.middles[chosen][rows, thing] * cells  # [B, 2]: x, y
        stray = (2 * torch.rand(middles.shape, generator=chance, device=self.device) - 1) * _STRAY
        corners = (middles + stray - side / 2).round().long().clamp(0, cells - side)  # [B, 2]
        pixels = _cut(self.pictures.pixels[chosen], corners * self.factor, side * self.factor)
        latents = self.pictures.latents
        return Batch(
            pixels=signed(pixels),
            latents=None if latents is None else _cut(latents[chosen], corners, side).float() / self.scale,
        )

    def _wrong(self, latents: Tensor, pixels: Tensor) -> Tensor:
        return reconstruction.loss(self.vae.decode(latents).sample, pixels, edge_weight=self.plan.edge_weight)


def _cut(images: Tensor, corners: Tensor, side: int) -> Tensor:
    """A square of each of [B, C, H, W], from its left and upper corner [B, 2] on: [B, C, side, side]."""
    steps = torch.arange(side, device=images.device)
    across, down = (corners[:, axis, None] + steps for axis in (0, 1))  # [B, side]
    rows = torch.arange(len(images), device=images.device)[:, None, None]
    return images[rows, :, down[:, :, None], across[:, None, :]].movedim(-1, 1)
