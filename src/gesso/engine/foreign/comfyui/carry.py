"""What the nodes of a ComfyUI graph ask for, found from the node that saves the picture back to where it began."""

from gesso.engine.foreign.comfyui.encoder import take_encoder
from gesso.engine.foreign.comfyui.graph import Graph
from gesso.engine.foreign.comfyui.latents import take_decoder, take_latent
from gesso.engine.foreign.comfyui.models import take_adapters, take_model
from gesso.engine.foreign.comfyui.reading import Reading
from gesso.engine.foreign.comfyui.refiner import refiner_of, take_refiner
from gesso.engine.foreign.comfyui.sampling import take_sampler
from gesso.engine.foreign.comfyui.second_pass import take_second_pass
from gesso.engine.foreign.comfyui.sweep import sweep
from gesso.engine.foreign.comfyui.texts import TextReading
from gesso.engine.foreign.comfyui.walk import samplers_of
from gesso.engine.foreign.values import Ledger, NamedModel


def carry(graph: Graph, ledger: Ledger) -> NamedModel | None:
    """Enter every input of every node that the picture comes from. Returns the model that is loaded."""
    found = [(node, samplers) for node in graph.outputs() if (samplers := samplers_of(graph, node))]
    if not found:
        ledger.leave("graph", f"{len(graph.nodes)} nodes", "no sampler that is known leads to a saved picture")
        return None
    output, (base, *later) = found[0]
    if len(found) > 1:
        others = ", ".join(node.name for node, _ in found[1:])
        ledger.leave("output", others, f"the graph saves several pictures, that of {output.name} is taken")
    reading = Reading(graph=graph, ledger=ledger)
    refiner = refiner_of(graph, base, later[0]) if len(later) == 1 else None
    if refiner is not None:
        reading.take(base, "end_at_step")
    sampling = take_sampler(reading, base)
    unguided = ledger.fields.get("guidance") == 1.0
    loaded = take_model(reading, sampling.model)
    texts = TextReading(reading=reading)
    texts.take(sampling.positive, "prompt")
    if sampling.negative is not None:
        texts.take(sampling.negative, "negative_prompt", idle=unguided)
    if "prompt" in texts.encoders:
        take_encoder(reading, texts.encoders, unguided=unguided)
        take_adapters(reading, loaded.adapters, {node.id for node in texts.encoders["prompt"]})
    take_latent(reading, sampling.latent)
    if refiner is not None:
        take_refiner(reading, refiner)
    elif len(later) == 1:  # of more, and of one that cannot be asked for, it is told at the end
        take_second_pass(reading, base, later[0])
    take_decoder(reading, output)
    sweep(reading, output)
    return loaded.model
