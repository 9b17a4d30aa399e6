"""The arms by name."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.arms.base import Arm

ARMS = {
    "lock": "diffusers behind a lock",
    "lock-urgent-first": "diffusers behind a lock, urgent first",
    "batch": "diffusers, one batch",
    "litserve": "diffusers behind LitServe",
    "fast": "Gesso fast",
    "exact": "Gesso exact",
}
"""Name to what the tables call it."""


def start(name: str, model: str, *, threads: int, device: str) -> "Arm":
    """The arm called `name`, its model loaded or loaded at its first picture. Imports what that arm needs alone."""
    match name:
        case "lock" | "lock-urgent-first" | "batch":
            from benchmarks.arms.lock import LockArm

            options = {"urgent_first": name == "lock-urgent-first", "batched": name == "batch"}
            return LockArm(model, threads=threads, device=device, **options)
        case "litserve":
            from benchmarks.arms.litserve import LitServeArm

            return LitServeArm(model, threads=threads, device=device)
        case "fast" | "exact":
            from benchmarks.arms.gesso import GessoArm

            return GessoArm(model, threads=threads, device=device, exact=name == "exact")
        case _:
            raise ValueError(f"unknown arm `{name}`; there are {', '.join(ARMS)}")
