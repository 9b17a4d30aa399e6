"""The size that a picture begins with, and the VAE that ends it."""

from typing import Any

from gesso.core.requests import MAX_SIDE_PX
from gesso.engine.foreign.comfyui.graph import Node
from gesso.engine.foreign.comfyui.reading import Reading, file_in
from gesso.engine.foreign.comfyui.walk import WAY_BACK, back
from gesso.engine.foreign.numbers import LATENT_PX, whole_number


def take_latent(reading: Reading, link: Any) -> None:
    """Enter the size, which is that of the empty latents at the end of the way back."""
    first = reading.graph.at(link)
    way = [] if first is None else [first, *back(reading.graph, first)]
    node = next((node for node in way if node.kind.startswith("Empty")), None)
    if node is None or "width" not in node.inputs:
        return  # and the nodes in between are told at the end
    try:
        sides = [whole_number(reading.number(node, name), 16, MAX_SIDE_PX) for name in ("width", "height")]
    except ValueError as error:
        reading.leave(node, "width", str(error))
        return
    reading.take(node, "width", "height")
    width, height = (side // LATENT_PX * LATENT_PX for side in sides)
    note = "" if [width, height] == sides else f"it was rounded down to {width}x{height}"
    said = f"{sides[0]}x{sides[1]}"
    reading.ledger.carry(f"{node.name}.width, height", said, note, width=width, height=height)
    if node.inputs.get("batch_size", 1) == 1:
        reading.describe(node, "batch_size")
    else:
        reading.leave(node, "batch_size", "which of the batch it is is not written, and the first is made")


def take_decoder(reading: Reading, output: Node) -> None:
    """Enter the VAE that made the picture that is saved."""
    reading.take(output, *(name for name in WAY_BACK if name in output.inputs))
    decoder = next((node for node in back(reading.graph, output) if node.kind.startswith("VAEDecode")), None)
    if decoder is None:
        return
    reading.take(decoder, "samples", "vae")
    vae = reading.graph.at(decoder.inputs.get("vae"))
    if vae is not None and vae.kind == "VAELoader":
        reading.carry(vae, "vae_name", lambda value: {"vae": file_in(value)})
