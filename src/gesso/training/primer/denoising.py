"""The lesson of the denoiser: to take noise away from the latents of pictures, as their captions say."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from gesso.training.primer import objective
from gesso.training.primer.chance import generator, visited
from gesso.training.primer.latents import EncodedPictures, encoded_pictures, held_out_pictures
from gesso.training.primer.networks import (
    in_float16,
    load_networks,
    made_fast,
    mixed_precision,
    with_changes,
    write_pipeline,
)
from gesso.training.primer.plan import TrainingPlan

_VALIDATED_AT_ONCE = 32


class Denoising:
    """The UNet and the text encoder learn; the VAE and the tokenizer stay as they are. A `Lesson`."""

    network = "unet"
    pictures: EncodedPictures
    held_out_pictures: EncodedPictures

    def __init__(self, plan: TrainingPlan, *, device: torch.device) -> None:
        self.plan = plan
        self.device = device
        self.networks = load_networks(plan)
        for network in (self.networks.unet, self.networks.text_encoder, self.networks.vae):
            network.to(device)  # pyright: ignore[reportArgumentType]
        self.networks.unet.train()
        self.networks.text_encoder.train()
        for network in (self.networks.unet, self.networks.text_encoder):
            made_fast(network, plan)
        self.alphas_cumprod = self.networks.alphas_cumprod.to(device)
        self.empty = self.networks.tokens([""])[0].to(device)

    def learning(self) -> Iterator[tuple[str, nn.Parameter]]:
        for network in ("unet", "text_encoder"):
            for name, parameter in getattr(self.networks, network).named_parameters():
                yield f"{network}/{name}", parameter

    def prepare(self, listener: Callable[[int], None] = lambda _: None) -> None:
        self.pictures = encoded_pictures(self.networks, self.plan, listener=listener).to(self.device)
        self.held_out_pictures = held_out_pictures(self.networks, self.plan).to(self.device)

    def loss(self, step: int) -> Tensor:
        chance = generator(self.plan.seed, "step", step, device=self.device)
        x0, tokens = self.batch(step, chance)
        unnamed = torch.rand(len(tokens), generator=chance, device=self.device) < self.plan.caption_dropout
        tokens[unnamed] = self.empty
        return self.error(x0, tokens, chance)

    def batch(self, step: int, chance: torch.Generator) -> tuple[Tensor, Tensor]:
        """The latents of a step and one of the captions of each. [B, 4, h, w], [B, 77]."""
        size = self.plan.batch_size
        chosen = visited(self.plan.seed, step, size=size, total=len(self.pictures)).to(self.device)
        captions = self.pictures.tokens[chosen]
        wording = torch.randint(captions.shape[1], (size,), generator=chance, device=self.device)
        rows = torch.arange(size, device=self.device)
        return self.pictures.latents[chosen].float(), captions[rows, wording].long()

    def error(self, x0: Tensor, tokens: Tensor, chance: torch.Generator) -> Tensor:
        """Mean squared error of v at random times. x0: [B, 4, h, w], tokens: [B, 77]; all on the device."""
        networks = self.networks
        t = objective.timesteps(len(x0), len(self.alphas_cumprod), chance)
        share = self.alphas_cumprod[t]
        noise = torch.randn(x0.shape, generator=chance, device=self.device)
        noisy = objective.corrupt(x0, noise, share)
        with mixed_precision(self.device):
            text = networks.text_encoder(tokens).last_hidden_state  # [B, 77, D]
            predicted = networks.unet(noisy, t, encoder_hidden_states=text).sample
        return mse_loss(predicted.float(), objective.target(x0, noise, share))

    def seen(self, steps: int) -> int:
        return steps * self.plan.batch_size

    @torch.no_grad()
    def held_out(self) -> dict[str, float]:
        """The loss on pictures of combinations never shown, always with the same noise."""
        size = _VALIDATED_AT_ONCE
        losses = [
            self.error(
                self.held_out_pictures.latents[start : start + size].float(),
                self.held_out_pictures.tokens[start : start + size, 0].long(),
                generator("held out", start, device=self.device),
            ).item()
            for start in range(0, len(self.held_out_pictures), size)
        ]
        return {"held_out_loss": round(sum(losses) / len(losses), 5)}

    def export(self, folder: Path) -> None:
        networks, start = self.networks, self.plan.start
        layers = networks.text_encoder.config.num_hidden_layers
        changed = {
            Path("unet/config.json"): with_changes(
                start / "unet" / "config.json", block_out_channels=list(networks.unet.config["block_out_channels"])
            ),
            Path("text_encoder/config.json"): with_changes(
                start / "text_encoder" / "config.json", num_hidden_layers=layers
            ),
            Path("unet/diffusion_pytorch_model.safetensors"): in_float16(networks.unet),
            Path("text_encoder/model.safetensors"): in_float16(networks.text_encoder),
        }
        write_pipeline(start, folder, changed=changed)
