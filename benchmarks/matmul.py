"""What the machine multiplies at best: one large matrix product."""

import torch

from gesso.devices.base import Device

_SIDE_HOST, _SIDE_ACCELERATOR = 1024, 8192


def matmul_flops(device: Device, dtype: torch.dtype, *, repeats: int = 10) -> float:
    """Floating-point operations a second of the fastest of some products, on the calling thread's cores."""
    side = _SIDE_ACCELERATOR if device.accelerator else _SIDE_HOST
    left, right = (torch.full((side, side), 0.5, dtype=dtype, device=device.name) for _ in range(2))
    best = float("inf")
    for turn in range(repeats + 1):
        start = device.marker()
        torch.mm(left, right)
        end = device.marker()
        end.wait()
        if turn:  # the first prepares
            best = min(best, end.seconds_since(start))
    return 2 * side**3 / best
