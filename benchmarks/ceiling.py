"""What a model can gain on this machine at all, found out in a process of its own:
`python -m benchmarks.ceiling MODEL DEVICE SECONDS SIZE ROWS,ROWS,… THREADS,THREADS,…`
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.matmul import matmul_flops
from benchmarks.resolving import description_of, resolved_on
from benchmarks.workloads import homogeneous
from gesso.cli.boundary import prepare_process
from gesso.devices import choose
from gesso.engine.bench.plain import PlainModel
from gesso.engine.bench.rows import DenoiserCall, RowScaling, captured, row_scaling
from gesso.engine.hosted_model import DTYPES

ROWS = (1, 2, 4, 8, 16)
_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Bare:
    """Bare forwards of a denoiser.

    Attributes:
        scaling: by the number of threads that computed.
        flops_per_row: floating-point operations of a forward, for each row.
        rows_alone: of a forward for one picture: two where the denoiser also looks without the prompt.
        matmul_flops: operations a second of one large matrix product, with the number of threads that is best for it.
    """

    scaling: Mapping[int, RowScaling]
    flops_per_row: float
    rows_alone: int
    matmul_flops: float

    def per_row(self, rows: int) -> float:
        """Seconds for each row in forwards of `rows` rows, with the number of threads that is best for them."""
        return min(each.per_row(rows) for each in self.scaling.values())

    def ceiling(self, pictures: int = 8) -> float:
        """How many times cheaper a row can become among so many pictures: each side with its best number of threads."""
        return self.per_row(self.rows_alone) / self.per_row(self.rows_alone * pictures)


def measured(
    model: str,
    *,
    threads: Sequence[int],
    seconds: float,
    device: str = "cpu",
    rows: Sequence[int] = ROWS,
    size_px: int | None = None,
) -> Bare:
    """Time bare forwards of the denoiser with each number of threads, in a fresh process.

    Args:
        seconds: for each number of threads.
        size_px: of the pictures; `None` is the model's own.
    """
    lists = [",".join(map(str, numbers)) for numbers in (rows, threads)]
    command = [sys.executable, "-m", "benchmarks.ceiling", model, device, str(seconds), str(size_px or 0), *lists]
    run = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return Bare(
        scaling={
            int(count): RowScaling(seconds={int(number): took for number, took in times.items()})
            for count, times in found["scaling"].items()
        },
        flops_per_row=found["flops_per_row"],
        rows_alone=found["rows_alone"],
        matmul_flops=found["matmul_flops"],
    )


def _flops_per_row(call: DenoiserCall) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call.module(**call.with_rows(1))
    return float(counter.get_total_flops())


def main() -> None:
    """Measure, and print one line of JSON."""
    model, device_name, seconds, size_px, rows, threads = sys.argv[1:]
    prepare_process()
    device = choose.choose(device_name)
    (request,) = homogeneous(model, 1, steps=1, size_px=int(size_px) or None)
    resolved = resolved_on(request, device_name)
    plain = PlainModel(description_of(model), resolved)
    dtype = DTYPES[resolved.precision]
    call = captured(plain.modules, lambda: plain.make([resolved]), device=torch.device(resolved.device), dtype=dtype)
    scaling: dict[int, Mapping[int, float]] = {}
    matmul: list[float] = []
    for count in map(int, threads.split(",")):
        torch.set_num_threads(count)
        scaling[count] = row_scaling(
            call, [int(number) for number in rows.split(",")], device=device, seconds=float(seconds)
        ).seconds
        matmul.append(matmul_flops(device, dtype))
    print(
        json.dumps(
            {
                "scaling": scaling,
                "flops_per_row": _flops_per_row(call),
                "rows_alone": call.rows,
                "matmul_flops": max(matmul),
            }
        )
    )


if __name__ == "__main__":
    main()
