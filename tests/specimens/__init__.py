"""Weights files of every kind, for telling them apart: true names and shapes of tensors, and no bytes behind them."""

from specimens.adapters import ADAPTERS
from specimens.base import Specimen
from specimens.networks import NETWORKS
from specimens.originals import ORIGINALS
from specimens.small import SMALL

SPECIMENS: dict[str, Specimen] = {**ORIGINALS, **NETWORKS, **ADAPTERS, **SMALL}
"""By name; the names are those of the tests."""
