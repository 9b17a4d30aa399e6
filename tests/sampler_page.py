"""docs/reference/samplers.md, made of the table of samplers and of what the parity tests measure.

`PYTHONPATH=tests python -m sampler_page` writes it anew.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import sampler_parity
from gesso.engine.samplers.table import AUTOMATIC, SAMPLERS, SCHEDULES, Form, Sampler

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "samplers.md"

BOUNDS = (1e-12, 1e-6, 1e-4)
"""The difference of a sampler is told as the least of these that is well above it."""
MARGIN = 2.0
SOLVED = [name for name, sampler in SAMPLERS.items() if sampler.diffusion is not None and name not in {"LCM", "TCD"}]
"""Samplers whose error without noise falls with the step. DDPM always has noise."""
SOLVED.remove("DDPM")

_HEAD = """\
# Samplers

*Made by `tests/sampler_page.py` from the table of samplers and from what the tests measure; a test keeps it true.*

A **sampler** is the rule by which a step is taken, a **schedule** says at which noise levels the steps are. Without
`--sampler` a model runs with the scheduler that it came with. `gesso samplers` prints the table, `--json` all of it.

## Which one

- **Any model, nothing to think about**: leave it out.
- **Few steps, sharp**: `DPM++ 2M` (15 to 30 steps) or `UniPC` (10 to 20). Both take one network call a step.
- **The exact solution**: `Heun` or `DPM2`, with two calls a step; more steps only come nearer.
- **Variety**: the stochastic ones. `Euler a` and the `DPM++ … SDE` draw fresh noise at each step, so that more steps
  make another picture, not the same one more precisely. `DPM++ SDE` is good from 10 steps on, `DPM++ 3M SDE` from 30.
- **Old pictures**: the name and the schedule that are written in them, whether by AUTOMATIC1111, SD.Next or diffusers.
- **Models distilled for few steps**: `LCM` or `TCD` as their card says.

Names are read in any case, with or without `k_`, `_`, `-` and spaces; `DPM++ 2M Karras` asks for sampler and schedule
at once. A pair that does not exist is refused with those that do.
"""

_CHANCE = """\
## Noise on the way

| Request | Command line | |
|---|---|---|
| `eta` | `--eta` | share of noise that a step draws anew, 0 to 1; 0 makes the sampler deterministic |
| `s_churn` | `--s-churn` | noise added before each step (Karras et al. 2022, algorithm 2) |
| `s_tmin`, `s_tmax` | `--s-tmin`, `--s-tmax` | between which levels it is added; `s_tmax` 0 is no limit |
| `s_noise` | `--s-noise` | strength of all noise drawn on the way; 1 is as derived |

What a sampler does not take is refused. All noise comes from the picture's own generator, in the order of the steps: a
seed gives the same picture alone and in company. The churn of the first step is in the noise that it starts from.
"""

_PARITY = """\
## How right they are

Each sampler is run in double precision on data whose denoiser and probability flow are known in closed form (a mixture
of normals), through the timesteps that a network is told, and compared with another computation of it: k-diffusion
0.1.1, or its paper written down again in the tests. Stochastic ones are given the same numbers; schedules, predictions
(noise, velocity, sample), `eta`, churn and noise strength vary. *Difference* is the largest, relative to the largest
value. Timesteps are single precision, as networks take them: that is what remains.

*Order* is measured: by which power of the step the error against the exact solution falls, at 64 and 128 steps between
two noise levels, without noise (`eta` 0). Multistep samplers begin with low orders, which shows in it.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD, _pairs(), _schedules(), _CHANCE, _PARITY, _parity(), _notes()]
    return "\n".join(part.strip() + "\n" for part in parts)


def bound(found: float) -> float:
    """The bound that a measured difference is told as."""
    return next((limit for limit in BOUNDS if found * MARGIN <= limit), float("inf"))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _forms() -> Iterable[tuple[Sampler, str, Form]]:
    for sampler in SAMPLERS.values():
        for kind, form in (("diffusion", sampler.diffusion), ("flow", sampler.flow)):
            if form is not None:
                yield sampler, kind, form


def _pairs() -> str:
    rows = [
        (
            sampler.name,
            kind,
            ", ".join(_labels(form)),
            str(sampler.order),
            "yes" if sampler.stochastic else "",
            _takes(form),
            ", ".join([*sampler.aliases, *form.aliases, *([f"`{form.diffusers}`"] if form.diffusers else ())]),
        )
        for sampler, kind, form in _forms()
    ]
    head = ("Sampler", "Models", "Schedules", "Calls a step", "Stochastic", "Takes", "Also known as")
    words = (
        "## What exists\n\n*Diffusion* models are Stable Diffusion 1 and 2, SDXL and their kin; *flow* models are\n"
        "rectified flows such as SD3 and Flux. The first schedule is what Automatic stands for (on a diffusion model\n"
        "trained for trailing timesteps Simple in place of Uniform). Samplers of two calls make one in the last step.\n"
    )
    return f"{words}\n{_table(head, rows)}"


def _labels(form: Form) -> list[str]:
    automatic = form.automatic
    if automatic == AUTOMATIC and form.schedules and form.placement is None and "uniform" in form.schedules:
        automatic = "uniform"
    names = dict.fromkeys((automatic, *form.schedules))
    return ["its own" if name == AUTOMATIC else SCHEDULES[name].label for name in names]


def _takes(form: Form) -> str:
    eta = [f"`eta` ({form.eta:g})"] if form.eta is not None else []
    return ", ".join([*eta, *(["`s_churn`"] if form.churn else ()), *(["`s_noise`"] if form.scales_noise else ())])


def _schedules() -> str:
    rows = [(each.label, each.source, ", ".join(each.aliases)) for each in SCHEDULES.values()]
    return "## Schedules\n\n" + _table(("Schedule", "Where the steps are", "Also known as"), rows)


def _parity() -> str:
    rows: list[tuple[str, str, str, str, str]] = []
    for sampler, kind, _ in _forms():
        if kind == "flow":
            words, found = "the rule, on the levels of Esser et al. 2024", sampler_parity.flow_difference(sampler.name)
            order = f"{sampler_parity.convergence(sampler.name, flow=True):.1f}"
        else:
            words = sampler_parity.REFERENCES[sampler.name].words
            found = sampler_parity.difference(sampler.name)
            order = f"{sampler_parity.convergence(sampler.name):.1f}" if sampler.name in SOLVED else ""
        rows.append((sampler.name, kind, words, f"≤ {bound(found):.0e}", order))
    return _table(("Sampler", "Models", "Compared with", "Difference", "Order"), rows)


def _notes() -> str:
    rows = [(sampler.name, kind, sampler.source, form.note) for sampler, kind, form in _forms()]
    return "## Sources and differences\n\n" + _table(("Sampler", "Models", "Source", "To know"), rows)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
