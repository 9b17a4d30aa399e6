"""The phi functions of exponential integrators, and integrals of interpolating polynomials."""

import math
from collections.abc import Callable, Sequence

import numpy as np

_SERIES_BELOW = 0.3
_TERMS = 14
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)


def phi(order: int, z: float) -> float:
    """phi_0(z) = e^z, phi_(k+1)(z) = (phi_k(z) - 1/k!) / z; by its series where the difference would cancel."""
    if order == 0:
        return math.exp(z)
    if abs(z) < _SERIES_BELOW:
        return sum(z**power / math.factorial(power + order) for power in range(_TERMS))
    return (phi(order - 1, z) - 1 / math.factorial(order - 1)) / z


def lagrange_integrals(
    nodes: Sequence[float], low: float, high: float, weight: Callable[[float], float] = lambda _: 1.0
) -> list[float]:
    """For each node the integral from `low` to `high` of `weight` times its basis polynomial: 1 there, 0 at the others.

    By Gauss-Legendre quadrature, exact for the polynomials themselves.
    """
    middle, half = (low + high) / 2, (high - low) / 2
    places = [middle + half * float(node) for node in _NODES]
    factors = [half * float(share) * weight(place) for share, place in zip(_WEIGHTS, places, strict=True)]

    def basis(index: int, place: float) -> float:
        others = [other for number, other in enumerate(nodes) if number != index]
        return math.prod((place - other) / (nodes[index] - other) for other in others)

    return [
        sum(factor * basis(index, place) for factor, place in zip(factors, places, strict=True))
        for index in range(len(nodes))
    ]
