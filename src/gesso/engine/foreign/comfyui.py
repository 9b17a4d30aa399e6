"""What the nodes of a ComfyUI graph ask for, found from the node that saves the picture back to where it began."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from gesso.core.requests import MAX_SEED, NoiseSource, PromptDialect, Weighting
from gesso.engine.foreign.graph import Graph, Link, Node
from gesso.engine.foreign.samplers import of_comfyui
from gesso.engine.foreign.second_pass import second_pass
from gesso.engine.foreign.values import Ledger, NamedModel
from gesso.engine.samplers.table import SAMPLERS

MAX_STEPS = 10_000
LATENT_PX = 8
_ALL_STEPS = 10_000
_UNKNOWN = "what nodes of this kind do is not known here"
DENOISE = ".denoise"
"""How the names of fields end that say a strength."""
_BEGUN = "the picture that it began with is not in the file, `--image` gives it"
_WHY: tuple[tuple[str, str], ...] = (
    (r"LoadImage|VAEEncode|SetLatentNoiseMask|InpaintModel", _BEGUN),
    (r"ControlNet|.*ControlNet|T2I|IPAdapter|CLIPVision|.*Redux", "control pictures are not in the file"),
    (r"(KSampler|Sampler)", "a second pass is not made"),
    (r"Latent(Upscale|From|Composite|Crop|Flip|Rotate)|RepeatLatent", "what is done to latents is not done here"),
    (r"Image|Upscale|.*Upscale", "what was done to the finished picture is not done again"),
    (r"ModelSampling|RescaleCFG|FreeU|PerturbedAttention|SelfAttention|HyperTile|Tom", "the model runs as it is"),
    (r".*CLIPLoader", "text encoders are the model's own; `--part` sets others"),
    (r"Conditioning", "prompts are not combined so"),
    (r".*FaceDetailer|.*Detailer", "faces are not worked over"),
)
_SAMPLERS = frozenset({"KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"})
_WAY_BACK = ("samples", "latent_image", "latent", "pixels", "image", "images")
"""Inputs along which a picture comes."""
_THRESHOLD = ("mimic_scale", "threshold_percentile")
_CONDITIONING = ("conditioning", "positive", "conditioning_1", "conditioning_to")
_DESCRIBING = frozenset(
    {
        *("filename_prefix", "control_after_generate", "device", "upload", "tile_size", "overlap", "temporal_size"),
        *("temporal_overlap", "noise_device", "speak_and_recognation", "choose file to upload", "config_name"),
    }
)
"""Inputs that shape nothing, or nothing that is seen."""
_EMBEDDING = re.compile(r"embedding:([^\s,():]+)")


def carry(graph: Graph, ledger: Ledger) -> NamedModel | None:
    """Enter every input of every node that the picture comes from. Returns the model that is loaded."""
    reading = _Reading(graph, ledger)
    found = [(node, base) for node in graph.outputs() if (base := reading.base_of(node)) is not None]
    if not found:
        ledger.leave("graph", f"{len(graph.nodes)} nodes", "no sampler that is known leads to a saved picture")
        return None
    output, base = found[0]
    if len(found) > 1:
        others = ", ".join(node.name for node, _ in found[1:])
        ledger.leave("output", others, f"the graph saves several pictures, that of {output.name} is taken")
    reading.take_sampler(base)
    reading.take_second(output, base)
    reading.take_decoder(output)
    reading.sweep(output)
    return reading.model


@dataclass(kw_only=True)
class _Sampling:
    """What a sampler node and those around it say."""

    positive: Any = None
    negative: Any = None
    model: Any = None
    latent: Any = None


@dataclass
class _Reading:
    """One walk through a graph."""

    graph: Graph
    ledger: Ledger
    model: NamedModel | None = None
    taken: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """Node → inputs that were entered."""
    adapters: list[Node] = field(default_factory=list[Node])
    """In the order in which they are applied."""
    clip_path: set[str] = field(default_factory=set[str])
    """Nodes between the prompts and the loader of their text encoder."""

    # --- the way back

    def base_of(self, output: Node) -> Node | None:
        """The sampler that the picture of `output` began in."""
        node, base = self._before(output), None
        seen: set[str] = set()
        while node is not None and node.id not in seen:
            seen.add(node.id)
            base = node if node.kind in _SAMPLERS else base
            node = self._before(node)
        return base

    def take_second(self, output: Node, base: Node) -> None:
        """The sampler after the first, if it is the last and what one can ask for; else it is told at the end."""
        node, later, seen = self._before(output), list[Node](), set[str]()
        while node is not None and node is not base and node.id not in seen:
            seen.add(node.id)
            if node.kind in _SAMPLERS:
                later.append(node)
            node = self._before(node)
        found = second_pass(self.graph, base, later[0], self.ledger) if len(later) == 1 else None
        if found is None:
            return
        self._took(found.sampler, *found.sampler.inputs)
        self._took(found.upscaler, *found.upscaler.inputs)
        said = ", ".join(f"{name} {value}" for name, value in found.fields.items())
        self.ledger.carry(f"{found.sampler.name}, {found.upscaler.name}", said, found.note, hires=dict(found.fields))

    def _before(self, node: Node) -> Node | None:
        links = (node.inputs.get(name) for name in _WAY_BACK)
        return next((found for link in links if (found := self.graph.at(link)) is not None), None)

    # --- samplers

    def take_sampler(self, node: Node) -> None:
        match node.kind:
            case "KSampler":
                sampling = self._whole_sampler(node, seed="seed")
                self._denoise(node)
            case "KSamplerAdvanced":
                sampling = self._whole_sampler(node, seed="noise_seed")
                self._part_of_steps(node)
            case "SamplerCustom":
                self._noise_added(node)
                self._seed(node, "noise_seed")
                self._guidance(node, "cfg")
                sampling = self._links(node, "positive", "negative", "model", "latent_image")
                self._custom(node)
            case _:
                sampling = self._guided(node)
        self._mean()
        self._take_model(sampling.model)
        unguided = self.ledger.fields.get("guidance", 1.0) == 1.0
        self._take_text(sampling.positive, "prompt")
        if sampling.negative is not None:
            self._take_text(sampling.negative, "negative_prompt", idle=unguided)
        self._take_latent(sampling.latent)

    def _whole_sampler(self, node: Node, *, seed: str) -> _Sampling:
        self._rule(node, node, node.inputs.get("sampler_name"), node.inputs.get("scheduler"))
        self._seed(node, seed)
        self._carry(node, "steps", lambda value: {"steps": _whole(value, 1, MAX_STEPS)})
        self._guidance(node, "cfg")
        return self._links(node, "positive", "negative", "model", "latent_image")

    def _links(self, node: Node, *names: str) -> _Sampling:
        self._took(node, *names)
        positive, negative, model, latent = (node.inputs.get(name) for name in names)
        return _Sampling(positive=positive, negative=negative, model=model, latent=latent)

    def _guided(self, node: Node) -> _Sampling:
        """`SamplerCustomAdvanced`: noise, guider, sampler and levels are nodes of their own."""
        self._took(node, "noise", "guider", "latent_image")
        noise, guider = self.graph.at(node.inputs.get("noise")), self.graph.at(node.inputs.get("guider"))
        if noise is not None and noise.kind == "RandomNoise":
            self._seed(noise, "noise_seed")
        self._custom(node)
        sampling = _Sampling(latent=node.inputs.get("latent_image"))
        if guider is None:
            self.ledger.leave(f"{node.name}.guider", "", "there is none")
        elif guider.kind == "BasicGuider":
            self._took(guider, "conditioning", "model")
            sampling.positive, sampling.model = guider.inputs.get("conditioning"), guider.inputs.get("model")
            self.ledger.imply("guidance", 1, guidance=1.0)
        elif guider.kind == "CFGGuider":
            self._guidance(guider, "cfg")
            self._took(guider, "positive", "negative", "model")
            sampling.positive, sampling.negative = guider.inputs.get("positive"), guider.inputs.get("negative")
            sampling.model = guider.inputs.get("model")
        else:  # is told at the end
            sampling.positive = next((guider.inputs[name] for name in _CONDITIONING if name in guider.inputs), None)
            sampling.negative, sampling.model = guider.inputs.get("negative"), guider.inputs.get("model")
        return sampling

    def _custom(self, node: Node) -> None:
        """The sampler and the levels of the two custom nodes."""
        self._took(node, "sampler", "sigmas")
        sampler, levels = self.graph.at(node.inputs.get("sampler")), self.graph.at(node.inputs.get("sigmas"))
        schedule: Any = None
        if levels is not None and levels.kind == "BasicScheduler":
            self._took(levels, "model")
            schedule = levels.inputs.get("scheduler")
            self._denoise(levels)
        elif levels is not None and levels.kind in _LEVELS and self._usual(levels, _LEVELS[levels.kind][1]):
            schedule = _LEVELS[levels.kind][0]
        if levels is not None and "steps" in levels.inputs:
            self._carry(levels, "steps", lambda value: {"steps": _whole(value, 1, MAX_STEPS)})
        if sampler is None:
            self.ledger.leave(f"{node.name}.sampler", "", "there is none")
        elif sampler.kind == "KSamplerSelect":
            self._rule(sampler, levels, sampler.inputs.get("sampler_name"), schedule)
        elif sampler.kind in _SAMPLER_NODES:
            self._rule(sampler, levels, _SAMPLER_NODES[sampler.kind], schedule)
            self._carry(sampler, "eta", lambda value: {"eta": _number(value, 0, 1)})
            self._carry(sampler, "s_noise", lambda value: {"s_noise": _number(value, 0, 2)})
            if sampler.inputs.get("r") == 0.5:
                self._describe(sampler, "r")

    def _usual(self, node: Node, usual: Mapping[str, float]) -> bool:
        """Whether the levels are those of the model, as far as numbers rounded by hand can say; else they are told."""
        odd = [
            name for name, value in usual.items() if not _near(self.graph.number(node.inputs.get(name, value)), value)
        ]
        for name in usual:
            if name in odd:
                self._leave(node, name, "levels are the model's own")
            elif name in node.inputs:
                self._describe(node, name)
        return not odd

    def _rule(self, sampler: Node, levels: Node | None, name: Any, schedule: Any) -> None:
        self._took(sampler, "sampler_name")
        if levels is not None:
            self._took(levels, "scheduler")
        try:
            rule = of_comfyui(str(name), str(schedule))
        except ValueError as error:
            why = f"{error}; `--sampler` chooses one of `gesso samplers`"
            self.ledger.leave(f"{sampler.name}.sampler_name", name, why)
            self.ledger.leave(f"{(levels or sampler).name}.scheduler", schedule, "its sampler is not here")
            return
        self.ledger.carry(f"{sampler.name}.sampler_name", name, rule.note, sampler=rule.sampler)
        if rule.lost:
            why = f"{rule.lost}; `--schedule` chooses another"
            self.ledger.leave(f"{(levels or sampler).name}.scheduler", schedule, why)
        else:
            self.ledger.carry(f"{(levels or sampler).name}.scheduler", schedule, schedule=rule.schedule)

    def _seed(self, node: Node, name: str) -> None:
        """64 bits there. A CPU's generator takes the low 32 of them, a GPU's, which draws at the steps, all."""
        self._took(node, name)
        value = self.graph.number(node.inputs.get(name))
        try:
            seed = _whole(value, 0, 2**64 - 1)
        except ValueError as error:
            self.ledger.leave(f"{node.name}.{name}", value, str(error))
            return
        fields: dict[str, Any] = {"seed": seed & MAX_SEED}
        sampler = SAMPLERS.get(self.ledger.fields.get("sampler", ""))
        if seed > MAX_SEED and sampler is not None and sampler.stochastic:
            fields["eta_seed_offset"] = seed & ~MAX_SEED
        self.ledger.carry(f"{node.name}.{name}", seed, **fields)

    def _guidance(self, node: Node, name: str) -> None:
        self._carry(node, name, lambda value: {"guidance": _number(value, 0, 1000)})

    def _distilled(self, node: Node) -> None:
        """Guidance that a model was trained with; that of the sampler is then a second one, by the negative prompt."""
        second = next((one for one in self.ledger.carried if "guidance" in one.fields), None)
        if second is not None:
            self.ledger.carried.remove(second)
            scale = self.ledger.fields.pop("guidance")
            if scale == 1:
                self.ledger.describe(second.name, second.value)
            else:
                self.ledger.carry(second.name, second.value, arguments={"true_cfg_scale": scale})
        self._carry(node, "guidance", lambda value: {"guidance": _number(value, 0, 1000)})

    def _denoise(self, node: Node) -> None:
        value = self.graph.number(node.inputs.get("denoise", 1))
        if _near(value, 1):
            self._describe(node, "denoise")
        else:
            self._leave(node, "denoise", "it begins with all noise here")

    def _noise_added(self, node: Node) -> None:
        if node.inputs.get("add_noise", True) in (True, "enable"):
            self._describe(node, "add_noise")
        else:
            self._leave(node, "add_noise", "a picture begins with noise here")

    def _part_of_steps(self, node: Node) -> None:
        self._noise_added(node)
        steps = self.ledger.fields.get("steps", _ALL_STEPS)
        first, last = node.inputs.get("start_at_step", 0), node.inputs.get("end_at_step", _ALL_STEPS)
        for name, usual in (("start_at_step", first == 0), ("end_at_step", isinstance(last, int) and last >= steps)):
            if usual:
                self._describe(node, name)
            else:
                self._leave(node, name, "all steps are made here")
        self._describe(node, "return_with_leftover_noise")

    def _mean(self) -> None:
        """What ComfyUI does without writing it."""
        sampler = SAMPLERS.get(self.ledger.fields.get("sampler", ""))
        drawn = sampler is not None and sampler.stochastic
        self.ledger.imply("noise", "CPU", noise_source=NoiseSource.COMFYUI if drawn else NoiseSource.CPU)
        language = {"dialect": PromptDialect.COMFYUI, "weighting": Weighting.COMFYUI}
        self.ledger.imply("prompt language", "ComfyUI's", **language)
        if sampler is not None and sampler.diffusion is not None and sampler.diffusion.scales_start:
            self.ledger.imply("first noise", "times sqrt(1 + sigma^2)", sgm_noise_multiplier=True)

    # --- models

    def _take_model(self, link: Any) -> None:
        adapters: list[Node] = []
        node, seen = self.graph.at(link), set[str]()
        while node is not None and node.id not in seen:
            seen.add(node.id)
            if node.kind in {"LoraLoader", "LoraLoaderModelOnly"}:
                adapters.append(node)
            elif node.kind == "DynamicThresholdingSimple":
                self._took(node, "model")
                self._threshold(node)
            elif node.kind in _LOADERS:
                self._took(node, _LOADERS[node.kind])
                name = file_name(node.inputs.get(_LOADERS[node.kind]))
                self.ledger.describe(f"{node.name}.{_LOADERS[node.kind]}", name)
                self.model = NamedModel(name=name)
                if node.inputs.get("weight_dtype") == "default":
                    self._describe(node, "weight_dtype")
                break
            node = self.graph.at(node.inputs.get("model"))
        else:
            self.ledger.leave("model", "", "no node that loads it is known")
        self.adapters = adapters[::-1]

    def _threshold(self, node: Node) -> None:
        scale, percentile = (self.graph.number(node.inputs.get(name)) for name in _THRESHOLD)
        self._took(node, *_THRESHOLD)
        try:
            threshold = {"mimic_scale": _number(scale, 0, 1000), "percentile": _number(percentile, 0, 1)}
        except ValueError as error:
            self.ledger.leave(node.name, f"{scale}, {percentile}", str(error))
        else:
            self.ledger.carry(node.name, f"{scale}, {percentile}", dynamic_thresholding=threshold)

    def _take_adapters(self) -> None:
        """After the prompts: which adapters the text encoder has is known only then."""
        uses: list[dict[str, Any]] = []
        for node in self.adapters:
            self._took(node, "lora_name", "strength_model", "strength_clip", "model", "clip")
            name = file_name(node.inputs.get("lora_name"))
            on_text = node.kind == "LoraLoader" and node.id in self.clip_path
            try:
                weight = _number(self.graph.number(node.inputs.get("strength_model", 1)), -100, 100)
                text = _number(self.graph.number(node.inputs.get("strength_clip", 0)), -100, 100) if on_text else 0.0
            except ValueError as error:
                self.ledger.leave(node.name, name, str(error))
                continue
            if not weight and not text:
                self.ledger.describe(node.name, name)
                continue
            uses.append({"name": name, "weight": weight, "text_encoder_weight": text})
            self.ledger.carry(node.name, f"{name} {weight:g} {text:g}", adapters=tuple(uses))

    def _take_text(self, link: Any, into: str, *, idle: bool = False) -> None:
        node, seen = self.graph.at(link), set[str]()
        while node is not None and node.kind not in _TEXTS and node.id not in seen:
            seen.add(node.id)
            if node.kind == "ConditioningZeroOut":
                self._took(node, "conditioning")
                if idle:
                    self.ledger.describe(node.name, "")
                    self._pass_over(node)
                else:
                    self.ledger.leave(node.name, "", "nothing at all is no prompt here, an empty one is")
                return
            if node.kind == "FluxGuidance":
                self._took(node, "conditioning")
                if into == "prompt":
                    self._distilled(node)
                else:
                    self._describe(node, "guidance")
            node = next((found for name in _CONDITIONING if (found := self.graph.at(node.inputs.get(name)))), None)
        if node is None or node.kind not in _TEXTS:
            self.ledger.leave(into.replace("_", " "), "", "no node that reads it is known")
            return
        self._encoded(node, into, idle=idle)

    def _encoded(self, node: Node, into: str, *, idle: bool) -> None:
        texts = {name: self.graph.text(node.inputs.get(name)) for name in _TEXTS[node.kind] if name in node.inputs}
        self._took(node, *texts, "clip")
        first = next(iter(texts.values()), None)
        for name, text in texts.items():
            if text is None:
                self.ledger.leave(f"{node.name}.{name}", node.inputs[name], "it is made by nodes that are not known")
            elif text != first:
                self.ledger.leave(f"{node.name}.{name}", text, "the text encoders read one text here")
        if first is not None:
            self._enter_text(node, next(iter(texts)), first, into, idle=idle)
        if node.kind == "CLIPTextEncodeFlux" and into == "prompt":
            self._distilled(node)
        if node.kind == "CLIPTextEncodeSDXL":
            self._sizes(node, into)
        self._take_clip(node.inputs.get("clip"))
        if into == "prompt":
            self._take_adapters()

    def _enter_text(self, node: Node, name: str, text: str, into: str, *, idle: bool) -> None:
        written = _EMBEDDING.sub(lambda found: file_name(found[1]), text)
        if into == "negative_prompt" and (idle or not text.strip()):
            self.ledger.describe(f"{node.name}.{name}", text)
            return
        self.ledger.carry(f"{node.name}.{name}", text, **{into: written})
        for found in dict.fromkeys(_EMBEDDING.findall(text)):
            self.ledger.carry("embedding", found)

    def _sizes(self, node: Node, into: str) -> None:
        """What SDXL is told of the size; the picture's own unless the pipeline is told otherwise."""
        prefix = "" if into == "prompt" else "negative_"
        names = ("width", "height", "crop_w", "crop_h", "target_width", "target_height")
        self._took(node, *names)
        try:
            width, height, left, top, wide, high = (_whole(node.inputs.get(name), 0, 2**20) for name in names)
        except ValueError as error:
            self.ledger.leave(f"{node.name}.width", node.inputs.get("width"), str(error))
            return
        told = {
            f"{prefix}original_size": [height, width],
            f"{prefix}crops_coords_top_left": [top, left],
            f"{prefix}target_size": [high, wide],
        }
        arguments = {**self.ledger.fields.get("arguments", {}), **told}
        said = f"{width}x{height}, {left}, {top}, {wide}x{high}"
        self.ledger.carry(f"{node.name}.width …", said, arguments=arguments)

    def _take_clip(self, link: Any) -> None:
        node = self.graph.at(link)
        while node is not None and node.id not in self.clip_path:
            self.clip_path.add(node.id)
            if node.kind == "CLIPSetLastLayer" and "stop_at_clip_layer" not in self.taken.get(node.id, ()):
                self._took(node, "clip")
                self._carry(node, "stop_at_clip_layer", lambda value: {"clip_skip": -_whole(value, -12, -1)})
            node = self.graph.at(node.inputs.get("clip"))

    # --- where it begins and ends

    def _take_latent(self, link: Any) -> None:
        node, seen = self.graph.at(link), set[str]()
        while node is not None and not node.kind.startswith("Empty") and node.id not in seen:
            seen.add(node.id)
            node = self._before(node)
        if node is None or "width" not in node.inputs:
            return  # and the nodes in between are told at the end
        try:
            sides = [_whole(self.graph.number(node.inputs.get(name)), 16, 16_384) for name in ("width", "height")]
        except ValueError as error:
            self._leave(node, "width", str(error))
            return
        self._took(node, "width", "height")
        width, height = (side // LATENT_PX * LATENT_PX for side in sides)
        note = "" if [width, height] == sides else f"it was rounded down to {width}x{height}"
        self.ledger.carry(f"{node.name}.width, height", f"{sides[0]}x{sides[1]}", note, width=width, height=height)
        if node.inputs.get("batch_size", 1) == 1:
            self._describe(node, "batch_size")
        else:
            self._leave(node, "batch_size", "which of the batch it is is not written, and the first is made")

    def take_decoder(self, output: Node) -> None:
        """The VAE that made the picture that is saved."""
        self._took(output, *(name for name in _WAY_BACK if name in output.inputs))
        node, seen = self._before(output), set[str]()
        while node is not None and not node.kind.startswith("VAEDecode") and node.id not in seen:
            seen.add(node.id)
            node = self._before(node)
        if node is None or not node.kind.startswith("VAEDecode"):
            return
        self._took(node, "samples", "vae")
        vae = self.graph.at(node.inputs.get("vae"))
        if vae is not None and vae.kind == "VAELoader":
            self._carry(vae, "vae_name", lambda value: {"vae": file_name(value)})

    def sweep(self, output: Node) -> None:
        """Tell all that was not entered of what the picture comes from."""
        for node in self.graph.upstream(output):
            if node.id in self.graph.read or node.kind == "Reroute":
                continue
            taken = self.taken.get(node.id)
            rest = {name: value for name, value in node.inputs.items() if name not in (taken or ())}
            if taken is None:
                values = ", ".join(f"{name} {value}" for name, value in rest.items() if not isinstance(value, Link))
                self.ledger.leave(node.name, values, _why(node.kind))
                continue
            for name, value in rest.items():
                if name in _DESCRIBING:
                    self.ledger.describe(f"{node.name}.{name}", value)
                elif not isinstance(value, Link):
                    self.ledger.leave(f"{node.name}.{name}", value, "it is not known here")

    # --- entering

    def _took(self, node: Node, *names: str) -> None:
        self.taken.setdefault(node.id, set()).update(names)

    def _pass_over(self, node: Node) -> None:
        """What a node that does nothing comes from does nothing either, unless something else needs it."""
        self.graph.read.update(found.id for found in self.graph.upstream(node) if found.kind in _TEXTS)

    def _describe(self, node: Node, name: str) -> None:
        self._took(node, name)
        if name in node.inputs:
            self.ledger.describe(f"{node.name}.{name}", node.inputs[name])

    def _leave(self, node: Node, name: str, why: str) -> None:
        self._took(node, name)
        self.ledger.leave(f"{node.name}.{name}", self.graph.number(node.inputs.get(name)), why)

    def _carry(self, node: Node, name: str, become: Callable[[Any], dict[str, Any]]) -> None:
        self._took(node, name)
        if name not in node.inputs:
            return
        value = self.graph.number(node.inputs[name])
        try:
            fields = become(value)
        except ValueError as error:
            self.ledger.leave(f"{node.name}.{name}", value, str(error))
        else:
            self.ledger.carry(f"{node.name}.{name}", value, **fields)


_LOADERS: Mapping[str, str] = MappingProxyType(
    {
        "CheckpointLoaderSimple": "ckpt_name",
        "CheckpointLoader": "ckpt_name",
        "UNETLoader": "unet_name",
        "UnetLoaderGGUF": "unet_name",
    }
)
_TEXTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "CLIPTextEncode": ("text",),
        "CLIPTextEncodeSDXL": ("text_g", "text_l"),
        "CLIPTextEncodeFlux": ("t5xxl", "clip_l"),
        "CLIPTextEncodeSD3": ("clip_g", "clip_l", "t5xxl"),
    }
)
_SAMPLER_NODES: Mapping[str, str] = MappingProxyType(
    {
        "SamplerEulerAncestral": "euler_ancestral",
        "SamplerDPMPP_2S_Ancestral": "dpmpp_2s_ancestral",
        "SamplerDPMPP_SDE": "dpmpp_sde",
        "SamplerDPMPP_3M_SDE": "dpmpp_3m_sde",
    }
)
_SD_LEVELS = {"sigma_max": 14.614642, "sigma_min": 0.0291675}
"""Of Stable Diffusion 1, 2 and XL, as those nodes have them to begin with."""
_LEVELS: Mapping[str, tuple[str, Mapping[str, float]]] = MappingProxyType(
    {
        "KarrasScheduler": ("karras", {**_SD_LEVELS, "rho": 7.0}),
        "ExponentialScheduler": ("exponential", _SD_LEVELS),
        "PolyexponentialScheduler": ("exponential", {**_SD_LEVELS, "rho": 1.0}),
    }
)


def file_name(value: Any) -> str:
    """`sd/toy.safetensors` as a name here: no ending, folders with `/`."""
    path = PurePosixPath(str(value).replace("\\", "/"))
    known = path.suffix.lower() in {".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".sft"}
    return str(path.with_suffix("")) if known else str(path)


def _whole(value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer():
        raise ValueError("it is no whole number")
    if not least <= value <= most:
        raise ValueError(f"it is not between {least} and {most}")
    return int(value)


def _number(value: Any, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("it is no number")
    if not least <= value <= most:
        raise ValueError(f"it is not between {least:g} and {most:g}")
    return float(value)


def _near(value: Any, usual: float) -> bool:
    return isinstance(value, int | float) and math.isclose(value, usual, rel_tol=1e-4)


def _why(kind: str) -> str:
    return next((why for pattern, why in _WHY if re.match(pattern, kind)), _UNKNOWN)
