"""What Python costs around the networks, and what that says about eight pictures at a time."""

from typing import Any

import torch

from benchmarks.overhead import Remembering
from benchmarks.report.overhead import section

MACHINE = {"processor": "a", "capability": "b", "cores": 2, "date": "2026-01-01"}


def test_what_is_remembered_is_computed_once_for_each_shape_and_given_as_a_copy() -> None:
    remembering, computed = Remembering(), 0

    def compute() -> tuple[torch.Tensor]:
        nonlocal computed
        computed += 1
        return (torch.zeros(2),)

    first = remembering("unet", {"sample": torch.ones(2, 4)}, compute)
    first[0].add_(1)  # as a pipeline may do with what it was given
    second = remembering("unet", {"sample": torch.ones(2, 4)}, compute)
    assert computed == 1
    assert second[0].tolist() == [0.0, 0.0]
    remembering("unet", {"sample": torch.ones(4, 4)}, compute)
    remembering("vae", {"sample": torch.ones(4, 4)}, compute)
    assert computed == 3


def figures() -> dict[str, Any]:
    rows = [{"way": "Gesso", "clients": clients, "first_ms": [10.0, 11.0], "step_ms": [1.0, 1.1]} for clients in (1, 8)]
    answers = {"fast": [{"pictures": 8, "seconds": 1.0}], "lock": [{"pictures": 8, "seconds": 2.0}]}
    cell = {"kind": "homogeneous", "clients": 8, "arms": answers}
    subject = {
        "name": "UNet",
        "steps": 11,
        "rows_alone": 2,
        "row_seconds": {"1": {"16": 0.08}, "2": {"16": 0.05}},
        "cells": [cell],
    }
    return {
        "overhead": {"machine": MACHINE, "rows": rows},
        "concurrency": {"machine": MACHINE, "subjects": [subject]},
    }


def test_the_time_of_eight_pictures_is_split_into_forwards_python_and_the_rest() -> None:
    text = section(figures())
    assert "| Gesso | 8 | 10.0 ms | 1.00 ms |" in text
    # 11 forwards of 50 ms; 8 pictures of 10 + 10 x 1 ms of Python; of one second; the lock takes two.
    assert "| UNet | 1000 ms | 55% | 16% | 29% | 3.64 |" in text


def test_figures_of_two_machines_are_not_added_up() -> None:
    found = figures()
    found["concurrency"]["machine"] = MACHINE | {"date": "2026-01-02"}
    assert "UNet" not in section(found)
