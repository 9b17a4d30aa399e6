"""What can be concluded of a weights file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What a weights file is for."""

    CHECKPOINT = "checkpoint"
    """A denoiser with its VAE or its text encoders."""
    DENOISER = "denoiser"
    """A UNet or transformer alone."""
    VAE = "vae"
    TINY_VAE = "tiny vae"
    """A small approximation of a VAE, for previews."""
    TEXT_ENCODER = "text encoder"
    IMAGE_ENCODER = "image encoder"
    LORA = "lora"
    """An adapter of the LoRA kind: changes of weights, most often of low rank."""
    TEXTUAL_INVERSION = "textual inversion"
    HYPERNETWORK = "hypernetwork"
    CONTROLNET = "controlnet"
    T2I_ADAPTER = "t2i-adapter"
    IP_ADAPTER = "ip-adapter"
    MOTION_MODULE = "motion module"
    UPSCALER = "upscaler"
    UNKNOWN = "unknown"


class Layout(StrEnum):
    """Whose names the tensors have."""

    ORIGINAL = "original"
    """Of those who made the model: LDM and what followed it. Single files mostly have these."""
    DIFFUSERS = "diffusers"
    TRANSFORMERS = "transformers"
    OPEN_CLIP = "open_clip"
    KOHYA = "kohya"
    PEFT = "peft"
    DIFFUSERS_OLD = "diffusers, before PEFT"
    X_FLUX = "x-flux"
    A1111 = "AUTOMATIC1111"


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """One thing that is said of a file, and why."""

    value: str
    evidence: str
    """The key, shape or metadata that tells it."""
    guess: bool = False
    """It is usual, but other files could look the same."""


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """Everything that was concluded of one file."""

    kind: Conclusion
    network: Conclusion | None = None
    """Which network, where its kind has several: `T5-XXL`."""
    family: Conclusion | None = None
    """Which models it is, or which it fits."""
    families: tuple[str, ...] = ()
    """The same as names; several where one network serves several families."""
    variant: Conclusion | None = None
    layout: Conclusion | None = None
    task: Conclusion | None = None
    """Another than pictures from text: inpainting, …"""
    prediction: Conclusion | None = None
    """What the denoiser predicts: `epsilon`, `v_prediction`, `flow`, …"""
    algorithm: Conclusion | None = None
    """Of an adapter: `LoRA`, `LoHa`, …"""
    ranks: tuple[int, ...] = ()
    vectors: int | None = None
    """Of a textual inversion: tokens that it takes in a prompt."""
    widths: Mapping[str, int] = field(default_factory=dict[str, int])
    """Of a textual inversion: text encoder, as the file calls it or "" → values of a vector."""
    token: str | None = None
    """Of a textual inversion: the word that the file itself says it stands for."""
    parts: tuple[Conclusion, ...] = field(default=())
    """Networks of a checkpoint."""
    notes: tuple[str, ...] = field(default=())

    def conclusions(self) -> list[tuple[str, Conclusion]]:
        """Each with what it is about, in the order of reading."""
        named = [
            ("kind", self.kind),
            ("network", self.network),
            ("family", self.family),
            ("variant", self.variant),
            ("task", self.task),
            ("prediction", self.prediction),
            ("algorithm", self.algorithm),
            ("layout", self.layout),
            *(("holds", part) for part in self.parts),
        ]
        return [(about, conclusion) for about, conclusion in named if conclusion is not None]
