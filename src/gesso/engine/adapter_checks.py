"""What is refused and what is warned of when an adapter meets a model: nothing of it is left out in silence."""

from collections.abc import Iterator, Mapping
from typing import Any

from gesso.components.adapters import begins_with
from gesso.core.errors import InputError
from gesso.core.requests import ResolvedAdapter, ResolvedImageRequest
from gesso.engine.adapter_files import AdapterFacts
from gesso.engine.facts import ModelFacts
from gesso.models.adapters.fit import Account
from gesso.models.families import Role, role_for

Layers = Mapping[str, Mapping[str, Any]]
"""By network and path."""

_SHOWN = 3
_BURNS_ABOVE = 1.0
"""Times the guidance that a few-step adapter brings: from there on it is told."""


def is_text_encoder(network: str) -> bool:
    return role_for(network, None) is Role.TEXT


def check_fit(
    account: Account, layers: Layers, found: AdapterFacts, adapter: ResolvedAdapter, facts: ModelFacts, *, strict: bool
) -> None:
    """Refuse an adapter of which nothing fits or, if `strict`, not all; and blocks in which there is nothing."""
    if not layers:
        made_for = f"; it is made for {found.made_for}" if found.made_for else ""
        raise InputError(
            f"Nothing of the adapter `{found.title}` fits `{facts.name}` ({facts.family}): {_some(account)}{made_for}",
            hint="`gesso models show FILE` tells what an adapter is made for",
        )
    if strict and account.ignored:
        raise InputError(_ignored(account, found, facts.name), hint="without `--strict` the rest of it is applied")
    for begins in adapter.blocks:
        if not any(begins_with(path, begins) for paths in layers.values() for path in paths):
            blocks = sorted({_block(path) for paths in layers.values() for path in paths})
            raise InputError(
                f"The adapter `{found.title}` changes no layer in the block `{begins}`",
                hint=f"it changes layers in {', '.join(blocks)}",
            )


def warnings_of(
    account: Account,
    layers: Layers,
    found: AdapterFacts,
    adapter: ResolvedAdapter,
    resolved: ResolvedImageRequest,
) -> Iterator[str]:
    """Lines for the reader."""
    if account.ignored:
        yield _ignored(account, found, resolved.model)
    texts = [network for network in layers if is_text_encoder(network)]
    if not texts and adapter.text_encoder_weight != adapter.weight:
        yield f"The text encoder weight of `{found.title}` has no effect: it changes no text encoder"
    if texts and adapter.text_encoder_weight and adapter.start > 0:
        yield (
            f"What `{found.title}` changes in text encoders is left out: texts are read before the first step, and it "
            f"begins after {adapter.start:g} of the steps"
        )
    brought = found.sampled.guidance if found.sampled is not None else None
    if brought is not None and resolved.guidance > brought + _BURNS_ABOVE:
        yield f"Guidance {resolved.guidance:g} burns pictures with `{found.title}`, which wants {brought:g}"


def _ignored(account: Account, found: AdapterFacts, model: str) -> str:
    return (
        f"{len(account.ignored)} of {account.keys} keys of the adapter `{found.title}` have no place in `{model}` and "
        f"are IGNORED: {_some(account)}"
    )


def _some(account: Account) -> str:
    """The first keys, by why they are ignored."""
    shown = [f"`{key}` ({why})" for key, why in list(account.ignored.items())[:_SHOWN]]
    rest = len(account.ignored) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "") if shown else "it holds no keys"


def _block(path: str) -> str:
    """`down_blocks.1` of `down_blocks.1.attentions.0…`."""
    first, _, rest = path.partition(".")
    number = rest.partition(".")[0]
    return f"{first}.{number}" if number.isdigit() else first
