"""The refiner of AUTOMATIC1111 and Forge: a checkpoint that goes on for the last steps."""

import re

from gesso.engine.foreign.numbers import between, number
from gesso.engine.foreign.origin import Origin
from gesso.engine.foreign.values import Ledger, NamedModel

_KEY, _AT, _BY_STEPS = "Refiner", "Refiner switch at", "Refiner switch by sampling steps"
_CALLED = re.compile(r"(?P<name>.*?)(?: \[(?P<hash>[0-9a-fA-F]{8,64})\])?")
_BY_LEVEL = "there it goes on at a level of noise, here after that share of the steps"


def named_refiner(text: str) -> NamedModel:
    """`name [hash]`, as it is written."""
    found = _CALLED.fullmatch(text)
    assert found is not None  # any text is such
    return NamedModel(name=found["name"], hash_=found["hash"])


def carry_refiner(pairs: dict[str, str], origin: Origin, ledger: Ledger) -> None:
    """Enter what `pairs` say of a refiner, and take it out of them."""
    said = {key: pairs.pop(key) for key in (_KEY, _AT, _BY_STEPS) if key in pairs}
    refiner, at = said.get(_KEY), said.get(_AT)
    if refiner is None:
        for key, value in said.items():
            ledger.describe(key, value)
        return
    try:
        share = between(number, 0, 1)("" if at is None else at)
    except ValueError as error:
        for key, value in said.items():
            ledger.leave(key, value, f"when it goes on is not written so that it is understood: {error}")
        return
    if share == 1:  # it never goes on
        for key, value in said.items():
            ledger.describe(key, value)
        return
    by_level = origin.refines_by_level and said.get(_BY_STEPS, "False").lower() != "true"
    use = {"model": named_refiner(refiner).name, "at": share}
    ledger.carry(_KEY, refiner, refiner=use)
    ledger.carry(_AT, at, _BY_LEVEL if by_level else "", refiner=use)
    if _BY_STEPS in said:
        ledger.describe(_BY_STEPS, said[_BY_STEPS])
