"""An adapter of a request as one word of a command line: `NAME[:WEIGHT[:TEXT_WEIGHT]][@FROM-TO][,BLOCK=FACTOR]…`.

anna                             as it was trained
anna:0.8                         at four fifths
anna:0.8:0                       and the text encoders as they are
anna:0.8@0.5-1                   in the second half of the steps
anna:0.8,down_blocks=0,mid_block=0.5
"""

import re
from typing import Any

from gesso.core.requests import AdapterUse, ResolvedAdapter

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_BLOCK = re.compile(rf"(?P<rest>.*),(?P<block>[A-Za-z_][\w.]*)=(?P<factor>{_NUMBER})")
_RANGE = re.compile(rf"(?P<rest>.*)@(?P<start>{_NUMBER})-(?P<stop>{_NUMBER})")
_WEIGHTS = re.compile(rf"(?P<rest>.*?):(?P<weight>{_NUMBER})(?::(?P<text>{_NUMBER}))?")


def parse_adapter(text: str) -> AdapterUse:
    """Read it from behind, so that a name or path may hold any of the signs. Raises `ValueError` without a name."""
    fields: dict[str, Any] = {}
    rest, blocks = text.strip(), dict[str, float]()
    while (found := _BLOCK.fullmatch(rest)) is not None:
        if found["block"] in blocks:
            raise ValueError(f"`{found['block']}` is there twice")
        rest, blocks = found["rest"], {found["block"]: float(found["factor"]), **blocks}
    if (found := _RANGE.fullmatch(rest)) is not None:
        rest = found["rest"]
        fields |= {"start": float(found["start"]), "stop": float(found["stop"])}
    if (found := _WEIGHTS.fullmatch(rest)) is not None:
        rest = found["rest"]
        fields["weight"] = float(found["weight"])
        if found["text"] is not None:
            fields["text_encoder_weight"] = float(found["text"])
    if not rest:
        raise ValueError("there is no name")
    return AdapterUse(name=rest, blocks=blocks, **fields)


def adapter_text(adapter: AdapterUse | ResolvedAdapter, *, name: str | None = None) -> str:
    """The word that `parse_adapter` reads as the same adapter, without its digest."""
    text_weight = adapter.text_encoder_weight
    weights = f":{adapter.weight:g}"
    if text_weight is not None and text_weight != adapter.weight:
        weights += f":{text_weight:g}"
    steps = "" if (adapter.start, adapter.stop) == (0, 1) else f"@{adapter.start:g}-{adapter.stop:g}"
    blocks = "".join(f",{block}={factor:g}" for block, factor in adapter.blocks.items())
    return f"{name or adapter.name}{weights}{steps}{blocks}"
