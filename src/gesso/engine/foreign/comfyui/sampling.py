"""What the sampler that a picture began in asks for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gesso.core.requests import MAX_SEED, NoiseSource, PromptDialect, Weighting
from gesso.engine.foreign.comfyui.graph import Node
from gesso.engine.foreign.comfyui.levels import take_custom, take_denoise, take_rule, take_steps
from gesso.engine.foreign.comfyui.reading import ALL_STEPS, Reading
from gesso.engine.foreign.comfyui.walk import CONDITIONING
from gesso.engine.foreign.numbers import real_number, whole_number
from gesso.engine.samplers.table import SAMPLERS


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Where a sampler gets what it reads from, as links."""

    positive: Any = None
    negative: Any = None
    model: Any = None
    latent: Any = None


def take_sampler(reading: Reading, node: Node) -> Sampling:
    """Enter its seed, steps, guidance and rule, and what ComfyUI means without writing it."""
    match node.kind:
        case "KSampler":
            sampling = _whole(reading, node, seed="seed")
            take_denoise(reading, node)
        case "KSamplerAdvanced":
            sampling = _whole(reading, node, seed="noise_seed")
            _part_of_steps(reading, node)
        case "SamplerCustom":
            _noise_added(reading, node)
            _seed(reading, node, "noise_seed")
            _guidance(reading, node)
            sampling = _links(reading, node, node.inputs.get("latent_image"))
            reading.take(node, "latent_image")
            take_custom(reading, node)
        case _:
            sampling = _guided(reading, node)
    _imply(reading)
    return sampling


def _whole(reading: Reading, node: Node, *, seed: str) -> Sampling:
    take_rule(reading, node, node, node.inputs.get("sampler_name"), node.inputs.get("scheduler"))
    _seed(reading, node, seed)
    take_steps(reading, node)
    _guidance(reading, node)
    reading.take(node, "latent_image")
    return _links(reading, node, node.inputs.get("latent_image"))


def _links(reading: Reading, node: Node, latent: Any) -> Sampling:
    reading.take(node, "positive", "negative", "model")
    positive, negative, model = (node.inputs.get(name) for name in ("positive", "negative", "model"))
    return Sampling(positive=positive, negative=negative, model=model, latent=latent)


def _guided(reading: Reading, node: Node) -> Sampling:
    """`SamplerCustomAdvanced`: noise, guider, sampler and levels are nodes of their own."""
    reading.take(node, "noise", "guider", "latent_image")
    noise, guider = (reading.graph.at(node.inputs.get(name)) for name in ("noise", "guider"))
    latent = node.inputs.get("latent_image")
    if noise is not None and noise.kind == "RandomNoise":
        _seed(reading, noise, "noise_seed")
    take_custom(reading, node)
    if guider is None:
        reading.ledger.leave(f"{node.name}.guider", "", "there is none")
        return Sampling(latent=latent)
    inputs: Mapping[str, Any] = guider.inputs
    if guider.kind == "BasicGuider":
        reading.take(guider, "conditioning", "model")
        reading.ledger.imply("guidance", 1, guidance=1.0)
        return Sampling(positive=inputs.get("conditioning"), model=inputs.get("model"), latent=latent)
    if guider.kind == "CFGGuider":
        _guidance(reading, guider)
        return _links(reading, guider, latent)
    positive = next((inputs[name] for name in CONDITIONING if name in inputs), None)  # the guider is told at the end
    return Sampling(positive=positive, negative=inputs.get("negative"), model=inputs.get("model"), latent=latent)


def _seed(reading: Reading, node: Node, name: str) -> None:
    """64 bits there. A CPU's generator takes the low 32 of them, a GPU's, which draws at the steps, all."""
    reading.take(node, name)
    ledger = reading.ledger
    try:
        seed = whole_number(reading.number(node, name), 0, 2**64 - 1)
    except ValueError as error:
        reading.leave(node, name, str(error))
        return
    fields: dict[str, Any] = {"seed": seed & MAX_SEED}
    sampler = SAMPLERS.get(ledger.fields.get("sampler", ""))
    if seed > MAX_SEED and sampler is not None and sampler.stochastic:
        fields["eta_seed_offset"] = seed & ~MAX_SEED
    ledger.carry(f"{node.name}.{name}", seed, **fields)


def _guidance(reading: Reading, node: Node) -> None:
    reading.carry(node, "cfg", lambda value: {"guidance": real_number(value, 0, 1000)})


def _noise_added(reading: Reading, node: Node) -> None:
    if node.inputs.get("add_noise", True) in (True, "enable"):
        reading.describe(node, "add_noise")
    else:
        reading.leave(node, "add_noise", "a picture begins with noise here")


def _part_of_steps(reading: Reading, node: Node) -> None:
    _noise_added(reading, node)
    steps = reading.ledger.fields.get("steps", ALL_STEPS)
    first, last = node.inputs.get("start_at_step", 0), node.inputs.get("end_at_step", ALL_STEPS)
    for name, usual in (("start_at_step", first == 0), ("end_at_step", isinstance(last, int) and last >= steps)):
        if name in reading.taken[node.id]:  # another goes on there
            continue
        if usual:
            reading.describe(node, name)
        else:
            reading.leave(node, name, "all steps are made here")
    reading.describe(node, "return_with_leftover_noise")


def _imply(reading: Reading) -> None:
    """What ComfyUI does without writing it."""
    ledger = reading.ledger
    sampler = SAMPLERS.get(ledger.fields.get("sampler", ""))
    drawn = sampler is not None and sampler.stochastic
    ledger.imply("noise", "CPU", noise_source=NoiseSource.COMFYUI if drawn else NoiseSource.CPU)
    ledger.imply("prompt language", "ComfyUI's", dialect=PromptDialect.COMFYUI, weighting=Weighting.COMFYUI)
    if sampler is not None and sampler.diffusion is not None and sampler.diffusion.scales_start:
        ledger.imply("first noise", "times sqrt(1 + sigma^2)", sgm_noise_multiplier=True)
