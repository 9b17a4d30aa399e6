"""Euler: Karras et al. 2022 (arXiv 2206.00364), algorithm 2 without its correction."""

from torch import Tensor

from gesso.engine.samplers.rules.base import Rule, Step


def advance(step: Step) -> Tensor:
    """One straight line from level to level."""
    return step.euler(step.sigma_next)


RULE = Rule(advance=advance)
