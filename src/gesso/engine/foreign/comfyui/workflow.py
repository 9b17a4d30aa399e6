"""ComfyUI's drawing of a graph, kept in the chunk `workflow`: nodes with the values of their widgets, and links.

The drawing is read where the graph itself is not in the picture. Widgets have names only in newer ones; for older ones
the order of the widgets of the nodes that are read is kept here.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gesso.engine.foreign.comfyui.graph import MOST_NODES, Graph, Link, Node

_NEXT_SEED = "control_after_generate"
_KSAMPLER = ("seed", _NEXT_SEED, "steps", "cfg", "sampler_name", "scheduler", "denoise")
_ADVANCED = ("add_noise", "noise_seed", _NEXT_SEED, "steps", "cfg", "sampler_name", "scheduler")
_SDXL_SIZES = ("width", "height", "crop_w", "crop_h", "target_width", "target_height")
_SIZE = ("width", "height", "batch_size")
WIDGETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "KSampler": _KSAMPLER,
        "KSamplerAdvanced": (*_ADVANCED, "start_at_step", "end_at_step", "return_with_leftover_noise"),
        "SamplerCustom": ("add_noise", "noise_seed", _NEXT_SEED, "cfg"),
        "RandomNoise": ("noise_seed", _NEXT_SEED),
        "CFGGuider": ("cfg",),
        "KSamplerSelect": ("sampler_name",),
        "BasicScheduler": ("scheduler", "steps", "denoise"),
        "KarrasScheduler": ("steps", "sigma_max", "sigma_min", "rho"),
        "SamplerEulerAncestral": ("eta", "s_noise"),
        "SamplerDPMPP_SDE": ("eta", "s_noise", "r", "noise_device"),
        "SamplerDPMPP_2M_SDE": ("solver_type", "eta", "s_noise", "noise_device"),
        "CLIPTextEncode": ("text",),
        "CLIPTextEncodeSDXL": (*_SDXL_SIZES, "text_g", "text_l"),
        "CLIPTextEncodeFlux": ("clip_l", "t5xxl", "guidance"),
        "FluxGuidance": ("guidance",),
        "CheckpointLoaderSimple": ("ckpt_name",),
        "CheckpointLoader": ("config_name", "ckpt_name"),
        "UNETLoader": ("unet_name", "weight_dtype"),
        "UnetLoaderGGUF": ("unet_name",),
        "CLIPLoader": ("clip_name", "type", "device"),
        "DualCLIPLoader": ("clip_name1", "clip_name2", "type", "device"),
        "TripleCLIPLoader": ("clip_name1", "clip_name2", "clip_name3"),
        "CLIPSetLastLayer": ("stop_at_clip_layer",),
        "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
        "LoraLoaderModelOnly": ("lora_name", "strength_model"),
        "VAELoader": ("vae_name",),
        "EmptyLatentImage": _SIZE,
        "EmptySD3LatentImage": _SIZE,
        "LatentUpscale": ("upscale_method", "width", "height", "crop"),
        "LatentUpscaleBy": ("upscale_method", "scale_by"),
        "ImageScale": ("upscale_method", "width", "height", "crop"),
        "ImageScaleBy": ("upscale_method", "scale_by"),
        "UpscaleModelLoader": ("model_name",),
        "LoadImage": ("image", "upload"),
        "ModelSamplingDiscrete": ("sampling", "zsnr"),
        "ModelSamplingFlux": ("max_shift", "base_shift", "width", "height"),
        "ModelSamplingSD3": ("shift",),
        "SaveImage": ("filename_prefix",),
        "PreviewImage": (),
        "VAEDecode": (),
        "VAEEncode": (),
        "ConditioningZeroOut": (),
        "BasicGuider": (),
        "SamplerCustomAdvanced": (),
        "PrimitiveString": ("value",),
        "PrimitiveStringMultiline": ("value",),
        "PrimitiveInt": ("value", _NEXT_SEED),
        "PrimitiveFloat": ("value",),
    }
)
_SEEDS = frozenset({"seed", "noise_seed"})
_MUTED, _BYPASSED = 2, 4
_NOTES = frozenset({"Note", "MarkdownNote"})
_REROUTES = ("Reroute",)


def graph_of_workflow(document: Any) -> Graph | None:
    """The graph that a drawing shows; `None` if the document is none. Nodes of unknown kinds have only their links.

    A node that is muted is not there; one that is bypassed hands on what it gets.
    """
    nodes = document.get("nodes") if isinstance(document, dict) else None
    if not isinstance(nodes, list) or len(nodes) > MOST_NODES:
        return None
    sources = _sources(document.get("links"))
    primitives = {str(node.get("id")): node for node in nodes if _kind(node) == "PrimitiveNode"}
    read: dict[str, Node] = {}
    for node in nodes:
        kind = _kind(node)
        if kind is None or kind in _NOTES or kind == "PrimitiveNode" or node.get("mode") == _MUTED:
            continue
        inputs = _inputs(node, kind, sources, primitives)
        passing = kind.startswith(_REROUTES) or node.get("mode") == _BYPASSED
        if passing:
            inputs = {name: value for name, value in inputs.items() if isinstance(value, Link)}
        name = str(node.get("id"))
        read[name] = Node(id=name, kind=_bypass(kind, node, inputs) if passing else kind, inputs=inputs)
    return Graph(nodes=read) if read else None


def _kind(node: Any) -> str | None:
    kind = node.get("type") if isinstance(node, dict) else None
    return kind if isinstance(kind, str) else None


def _bypass(kind: str, node: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
    """A bypassed node with one way through is like a reroute; of others, which input is handed on is not read."""
    return "Reroute" if len(inputs) == 1 else kind


def _sources(links: Any) -> dict[int, Link]:
    """Number of a link → where it comes from. Older drawings have rows, newer ones objects."""
    sources: dict[int, Link] = {}
    for link in links if isinstance(links, list) else ():
        match link:
            case [int() as number, int() | str() as node, int() as output, *_]:
                sources[number] = Link(str(node), output)
            case {"id": int() as number, "origin_id": int() | str() as node, "origin_slot": int() as output}:
                sources[number] = Link(str(node), output)
            case _:
                pass
    return sources


def _inputs(
    node: Mapping[str, Any], kind: str, sources: Mapping[int, Link], primitives: Mapping[str, Any]
) -> dict[str, Any]:
    slots = [slot for slot in node.get("inputs") or () if isinstance(slot, dict) and isinstance(slot.get("name"), str)]
    values = _widgets(node, kind, slots)
    for slot in slots:
        link = slot.get("link")
        source = sources.get(link) if isinstance(link, int) else None
        if source is None:
            continue
        primitive = primitives.get(source.node)
        if primitive is None:
            values[slot["name"]] = source
        else:  # the frontend writes its value into the node when the graph is sent
            held = primitive.get("widgets_values")
            values[slot["name"]] = held[0] if isinstance(held, list) and held else source
    return values


def _widgets(node: Mapping[str, Any], kind: str, slots: list[dict[str, Any]]) -> dict[str, Any]:
    held = node.get("widgets_values")
    if isinstance(held, dict):
        return {str(name): value for name, value in held.items()}
    if not isinstance(held, list):
        return {}
    names = WIDGETS.get(kind)
    if names is None:
        named = [slot["name"] for slot in slots if isinstance(slot.get("widget"), dict)]
        names = tuple(name for slot in named for name in ((slot, _NEXT_SEED) if slot in _SEEDS else (slot,)))
        if len(names) != len(held):
            return {}
    values = dict(zip(names, held, strict=False))
    values.pop(_NEXT_SEED, None)
    return values
