"""The layers of a network in memory that an adapter can change."""

from typing import Any

from torch import nn

from gesso.models.adapters.names import LayerShape, NetworkLayers


def network_layers(module: nn.Module) -> NetworkLayers:
    """Every module inside with a weight of its own.

    Layers of a `MultiheadAttention` are left out: it multiplies by their weights itself and never calls them.
    """
    layers: dict[str, LayerShape] = {}
    closed: tuple[str, ...] = ()
    for path, part in module.named_modules():
        weight = part._parameters.get("weight")
        if isinstance(part, nn.MultiheadAttention):
            closed = (*closed, f"{path}.")
        elif path and weight is not None and not path.startswith(closed):
            layers[path] = LayerShape(
                weight=tuple(weight.shape), bias=part._parameters.get("bias") is not None, product=is_product(part)
            )
    config: Any = getattr(module, "config", {})
    return NetworkLayers(
        class_name=type(module).__name__, config=config if isinstance(config, dict) else {}, layers=layers
    )


def is_product(layer: nn.Module) -> bool:
    """Whether a layer multiplies what it reads by its weights, so that a change can be added to what it makes."""
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros")
