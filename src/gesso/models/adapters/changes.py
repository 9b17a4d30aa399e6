"""What an adapter does to one layer: a change of its weights, kept as small as it was stored where that is possible.

The published forms of a change ΔW of a weight W [out, in, *kernel], with alpha / rank as their scale s:

| | ΔW | Source |
|---|---|---|
| LoRA | s · up · down | Hu et al. 2021, arXiv 2106.09685 |
| LoCon with a core | s · up · mid · down, the kernel in `mid` | Yeh et al. 2023, arXiv 2309.14859 |
| LoHa | s · (w1_a · w1_b) ⊙ (w2_a · w2_b) | Hyeon-Woo et al. 2021, arXiv 2108.06098 |
| LoKr | s · w1 ⊗ w2 | Yeh et al. 2023, arXiv 2309.14859 |
| full difference | diff | |
| DoRA | m · (W + ΔW) / |W + ΔW| - W, ΔW any of the above | Liu et al. 2024, arXiv 2402.09353, equation 5 |
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class LowRank:
    """ΔW as a product. Of a convolution the kernel is that of `down`, or of `mid` where there is one."""

    down: Tensor
    """[rank, in], of a convolution [rank, in, *kernel]."""
    up: Tensor
    """[out, rank], of a convolution [out, rank, 1, 1]; the scale is in it."""
    mid: Tensor | None = None
    """[rank, rank, *kernel]."""

    def delta(self) -> Tensor:
        """ΔW [out, in, *kernel]."""
        up = self.up.flatten(1)
        if self.mid is not None:
            return torch.einsum("or,rsij,sn->onij", up, self.mid, self.down.flatten(1))
        return (up @ self.down.flatten(1)).reshape(len(up), *self.down.shape[1:])


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerChange:
    """What one adapter does to one layer at weight 1: `low_rank` or `dense`, and to its bias."""

    low_rank: LowRank | None = None
    dense: Tensor | None = None
    """[out, in, *kernel], or of a norm [features]."""
    bias: Tensor | None = None
    """[out]"""
    magnitude: Tensor | None = None
    """Of DoRA: [out], the length that each row of the sum is given; or [in], of each column."""
    by_columns: bool = False
    """`magnitude` is of columns: everything that reads one input."""

    def delta(self) -> Tensor | None:
        """ΔW before DoRA; `None` where only the bias changes."""
        return self.low_rank.delta() if self.low_rank is not None else self.dense

    def tensors(self) -> list[Tensor]:
        found = [self.dense, self.bias, self.magnitude]
        if self.low_rank is not None:
            found += [self.low_rank.down, self.low_rank.up, self.low_rank.mid]
        return [tensor for tensor in found if tensor is not None]

    def outputs(self, taken: Callable[[Tensor], Tensor]) -> "LayerChange":
        """The change of some outputs: `taken` takes rows of whatever has one for each output."""
        low_rank = self.low_rank and replace(self.low_rank, up=taken(self.low_rank.up))
        return replace(
            self,
            low_rank=low_rank,
            dense=None if self.dense is None else taken(self.dense),
            bias=None if self.bias is None else taken(self.bias),
            magnitude=self.magnitude if self.magnitude is None or self.by_columns else taken(self.magnitude),
        )

    def to(self, device: torch.device, dtype: torch.dtype) -> "LayerChange":
        """A copy of its own on `device`; magnitudes stay in float32, because lengths are divided by them."""

        def moved(tensor: Tensor | None, kind: torch.dtype = dtype) -> Tensor | None:
            return None if tensor is None else tensor.to(device=device, dtype=kind, copy=True).contiguous()

        low_rank = self.low_rank
        if low_rank is not None:
            down, up = moved(low_rank.down), moved(low_rank.up)
            assert down is not None
            assert up is not None
            low_rank = LowRank(down=down, up=up, mid=moved(low_rank.mid))
        return replace(
            self,
            low_rank=low_rank,
            dense=moved(self.dense),
            bias=moved(self.bias),
            magnitude=moved(self.magnitude, torch.float32),
        )

    def gain(self, weight: Tensor) -> Tensor:
        """DoRA's m / |W + ΔW|, float32, one for each output or, `by_columns`, for each input."""
        delta = self.delta()
        assert self.magnitude is not None
        assert delta is not None
        whole = weight.float() + delta.float().reshape(weight.shape)
        kept = 1 if self.by_columns else 0
        lengths = whole.transpose(0, kept).flatten(1).norm(dim=1)
        return self.magnitude / lengths.clamp_min(torch.finfo(torch.float32).tiny)


def hadamard(w1_a: Tensor, w1_b: Tensor, w2_a: Tensor, w2_b: Tensor, t1: Tensor | None, t2: Tensor | None) -> Tensor:
    """LoHa's (w1_a · w1_b) ⊙ (w2_a · w2_b); with the cores t1, t2 [rank, rank, *kernel] of a convolution.

    Args:
        w1_a, w2_a: [out, rank], with cores [rank, out].
        w1_b, w2_b: [rank, in · kernel], with cores [rank, in].
    """
    if t1 is None or t2 is None:
        return (w1_a @ w1_b) * (w2_a @ w2_b)
    first, second = (
        torch.einsum("ij...,jn,io->on...", core, b, a) for core, a, b in ((t1, w1_a, w1_b), (t2, w2_a, w2_b))
    )
    return first * second


def kronecker(w1: Tensor, w2: Tensor) -> Tensor:
    """LoKr's w1 ⊗ w2: [o1, i1] and [o2, i2, *kernel] become [o1 · o2, i1 · i2, *kernel]."""
    return torch.kron(w1.reshape(*w1.shape, *[1] * (w2.ndim - w1.ndim)), w2)


def with_core(core: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """LoKr's second factor of a convolution: core [rank, rank, *kernel], a [rank, out], b [rank, in]."""
    return torch.einsum("ij...,jn,io->on...", core, b, a)
