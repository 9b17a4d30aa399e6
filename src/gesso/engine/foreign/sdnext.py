"""What SD.Next writes and means otherwise than AUTOMATIC1111."""

from collections.abc import Mapping
from types import MappingProxyType

from gesso.core.requests import NoiseSource, PromptDialect, Weighting
from gesso.engine.foreign.pairs import carry_pair, carry_prompts, has_weights, named_model
from gesso.engine.foreign.samplers import of_sdnext
from gesso.engine.foreign.sdnext_hires import carry_second_pass
from gesso.engine.foreign.values import Ledger, NamedModel
from gesso.engine.infotext import Infotext

_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "CLiP-skip": "Clip skip",
        "Variation strength": "Variation seed strength",
        "Mask weight": "Conditional mask weight",
        "Sampler eta delta": "ENSD",
    }
)
"""Its names of what AUTOMATIC1111 has too."""
_DESCRIBING = frozenset(
    {
        *("Pipeline", "Operations", "Scheduler", "Backend", "Index", "Batch", "Grid", "Comment", "LoRA networks"),
        *("LoRA hashes", "LoRA", "Embeddings", "UNet", "Negative template"),
    }
)
_GENERATOR = "it does not say whose numbers its noise is; a GPU's are its default"
_COMPEL = "it does not say how weights were applied; its own way is taken, which differs for weights below 1"


def carry(text: Infotext, ledger: Ledger) -> NamedModel | None:
    """Enter every pair of `text`, and what SD.Next means without writing it. Returns the model that it names."""
    pairs = {_KEYS.get(key, key): value for key, value in text.pairs.items()}
    carry_prompts(text, ledger)
    _carry_sampler(pairs, ledger)
    carry_second_pass(pairs, ledger)
    _carry_parser(pairs.pop("Parser", "native"), text, ledger)
    ledger.imply("generator", "GPU", _GENERATOR, noise_source=NoiseSource.NV)
    for key, value in pairs.items():
        if key in _DESCRIBING:
            ledger.describe(key, value)
        else:
            carry_pair(key, value, pairs, ledger)
    return named_model(pairs)


def _carry_sampler(pairs: dict[str, str], ledger: Ledger) -> None:
    """Takes the keys that it reads out of `pairs`."""
    name = pairs.pop("Sampler", None)
    if name is None:  # the model's own scheduler, and nothing else is said of it
        return
    sigma, spacing = pairs.pop("Sampler sigma", None), pairs.pop("Sampler spacing", None)
    written = {"Sampler sigma": sigma, "Sampler spacing": spacing}
    try:
        rule = of_sdnext(name, sigma, spacing)
    except ValueError as error:
        ledger.leave("Sampler", name, f"{error}; `--sampler` chooses one of `gesso samplers`")
        for key, value in written.items():
            if value is not None:
                ledger.leave(key, value, "its sampler is not here")
        return
    ledger.carry("Sampler", name, rule.note, sampler=rule.sampler)
    said = {key: value for key, value in written.items() if value is not None}
    for key, value in said.items():
        if rule.lost:
            ledger.leave(key, value, rule.lost)
        else:
            ledger.carry(key, value, schedule=rule.schedule)
    if not said:
        ledger.imply("Sampler sigma", "default", schedule=rule.schedule)


def _carry_parser(parser: str, text: Infotext, ledger: Ledger) -> None:
    match parser:
        case "native" | "Full parser":
            note = _COMPEL if has_weights(text) else ""
            ledger.imply("Parser", "native", note, dialect=PromptDialect.A1111, weighting=Weighting.COMFYUI)
        case "a1111" | "A1111 parser":
            ledger.carry("Parser", parser, dialect=PromptDialect.A1111, weighting=Weighting.ORIGINAL)
        case "fixed" | "Fixed attention":
            ledger.carry("Parser", parser, dialect=PromptDialect.A1111, weighting=Weighting.IGNORE)
        case _:
            ledger.leave("Parser", parser, "prompts are read in no such way; `--dialect` chooses one")
