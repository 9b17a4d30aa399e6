"""What was not taken of a graph, with the reason."""

import re

from gesso.engine.foreign.comfyui.graph import Link, Node
from gesso.engine.foreign.comfyui.reading import Reading
from gesso.engine.foreign.values import BEGUN, MASKED

_UNKNOWN = "what nodes of this kind do is not known here"
_WHY: tuple[tuple[str, str], ...] = (
    (r"LoadImageMask|ImageToMask|SetLatentNoiseMask", MASKED),
    (r"VAEEncodeForInpaint|InpaintModel|GrowMask", "masks are not grown here, and nothing gray lies under them"),
    (r"LoadImage|VAEEncode", BEGUN),
    (r"ControlNet|.*ControlNet|T2I|IPAdapter|CLIPVision|.*Redux", "control pictures are not in the file"),
    (r"(KSampler|Sampler)", "a second pass is not made"),
    (r"Latent(Upscale|From|Composite|Crop|Flip|Rotate)|RepeatLatent", "what is done to latents is not done here"),
    (r"Image|Upscale|.*Upscale", "what was done to the finished picture is not done again"),
    (r"ModelSampling|RescaleCFG|FreeU|PerturbedAttention|SelfAttention|HyperTile|Tom", "the model runs as it is"),
    (r".*CLIPLoader", "text encoders are the model's own; `--part` sets others"),
    (r"Conditioning", "prompts are not combined so"),
    (r".*FaceDetailer|.*Detailer", "faces are not worked over"),
)
_DESCRIBING = frozenset(
    {
        *("filename_prefix", "control_after_generate", "device", "upload", "tile_size", "overlap", "temporal_size"),
        *("temporal_overlap", "noise_device", "speak_and_recognation", "choose file to upload", "config_name"),
    }
)
"""Inputs that shape nothing, or nothing that is seen."""


def sweep(reading: Reading, output: Node) -> None:
    """Tell all that was not taken of what the picture of `output` comes from."""
    ledger = reading.ledger
    for node in reading.graph.upstream(output):
        if node.id in reading.graph.read or node.kind == "Reroute":
            continue
        taken = reading.taken.get(node.id)
        rest = {name: value for name, value in node.inputs.items() if name not in (taken or ())}
        if taken is None:
            values = ", ".join(f"{name} {value}" for name, value in rest.items() if not isinstance(value, Link))
            ledger.leave(node.name, values, _why(node.kind))
            continue
        for name, value in rest.items():
            if name in _DESCRIBING:
                ledger.describe(f"{node.name}.{name}", value)
            elif not isinstance(value, Link):
                ledger.leave(f"{node.name}.{name}", value, "it is not known here")


def _why(kind: str) -> str:
    return next((why for pattern, why in _WHY if re.match(pattern, kind)), _UNKNOWN)
