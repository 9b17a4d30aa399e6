"""`docs/reference/benchmarks.md`, whole."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.report import concurrency, gpu, others, overhead
from benchmarks.report.targets import targets
from benchmarks.report.text import table, verdict
from gesso.core.files import write_atomically

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "benchmarks.md"

_INTRODUCTION = """# Benchmarks

What sharing network calls gains and loses against the plain alternatives. `make bench` measures everything on the
machine it runs on (20 to 25 minutes on two cores) and writes this page and, for every repeat, the raw figures in
`benchmarks/results/`. One part alone: `make bench BENCH_ARGS=latency`. [`gesso bench`](command-line.md#gesso-bench)
does a short form on your own model."""

_HOW_TO_READ = """## How to read

- Seconds of different machines, or of different days, cannot be compared. **Ratios** can: both sides ran in this run,
  in turn, repeat by repeat, on an idle machine.
- *Lock* is the plain pipeline of diffusers, one picture after another, with the number of threads that suited it best.
  *LitServe* is the same pipeline behind dynamic batching: what arrives together and agrees in steps, guidance, sampler
  and size runs as one batch, up to 8 pictures, the rest in turn. *Fast* and *exact* are Gesso's
  [two modes](../concepts/hosted-components.md#fast-and-exact), with all cores.
- Clients form a **closed loop**: each asks, waits for its picture, asks again. The time is that from the first request
  to the last picture, so the end, where some clients have nothing left to ask, counts against those who share.
- *Alike*: requests differ in prompt and seed. *Mixed*: 4 to 30 steps, guidance on and off, three samplers, two sizes.
- *Text, picture and mask*: by turns a picture of text, one that begins with another at strength 0.75, and one that is
  painted under a mask, all with the same number of steps that are made. Plain diffusers has a pipeline for each; its
  own way to inpaint paints other pictures, so they are not compared.
- *Rows a forward* are those of the denoiser; a picture with guidance is two. *Padded* rows were computed for nobody, to
  keep shapes fixed, among the rows of all networks.
- *Equal pictures* have the bytes that plain diffusers makes alone with the same number of threads. Where they have not,
  the largest difference of any value is told; 1 of 255 is rounding.
- The **ceiling** is how much cheaper a row of the bare denoiser is among 16 than among 2, measured in the same run. A
  picture is more than its denoiser: prompt, VAE and pipeline gain nothing or less.
- The primer has trained weights; all other models have random ones, whose arithmetic is the same."""

_MISSING = "Not measured yet: `make bench BENCH_ARGS={part}`."
_NO_GPU = "Not measured: no accelerator was at hand. `make bench BENCH_ARGS=gpu` measures where there is one."


def write(page: Path = PAGE, folder: Path = results.FOLDER) -> Path:
    """Write the page of whatever has been measured."""
    write_atomically(page, text(results.read(folder)).encode())
    return page


def text(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The page as Markdown."""
    return "\n\n".join(block for block in _blocks(found) if block) + "\n"


def _blocks(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield _INTRODUCTION
    yield "Generated; what is written here by hand is lost."
    yield _machines(found)
    yield _HOW_TO_READ
    yield _targets(found)
    yield "## Many clients at once"
    yield from concurrency.sections(found["concurrency"]) if "concurrency" in found else [_missing("concurrency")]
    yield "## Pictures as input, beside text"
    yield from concurrency.editing_sections(found["editing"]) if "editing" in found else [_missing("editing")]
    yield "## Where the time goes"
    yield overhead.section(found) if "overhead" in found else _missing("overhead")
    yield "## A short request beside long ones"
    yield others.latency(found["latency"]) if "latency" in found else _missing("latency")
    yield "## One person"
    yield others.person(found["person"]) if "person" in found else _missing("person")
    yield "## Guidance in one pass"
    yield others.guidance(found["guidance"]) if "guidance" in found else _missing("guidance")
    yield "## Start-up"
    yield others.startup(found["startup"]) if "startup" in found else _missing("startup")
    if results.INSTALL in found:
        yield others.install(found[results.INSTALL])
    yield "## Converting models"
    yield others.conversion(found[results.CONVERSION]) if results.CONVERSION in found else _missing(results.CONVERSION)
    yield "## On a GPU"
    yield from gpu.sections(found["gpu"]) if "gpu" in found else [_NO_GPU]


def _missing(part: str) -> str:
    return _MISSING.format(part=part)


def _machines(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Each machine once, with the parts that were measured on it."""
    parts: dict[str, list[str]] = {}
    for part, figures in found.items():
        parts.setdefault(_machine(figures["machine"]), []).append(f"{part} ({figures['minutes']} min)")
    rows = [[machine, ", ".join(measured)] for machine, measured in parts.items()]
    return f"## The machine\n\n{table(['machine', 'parts'], rows)}" if rows else ""


def _machine(facts: Mapping[str, Any]) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in facts["libraries"].items())
    accelerators = ", ".join(facts["accelerators"]) or "no accelerator"
    load = facts["load_before"]
    before = "" if load is None else f"; load average {load} before it began"
    return (
        f"{facts['processor']} ({facts['capability']}), {facts['cores']} core(s), {facts['memory_gib']} GiB, "
        f"{accelerators}; {facts['system']}; Python {facts['python']}, {libraries}; {facts['date']}{before}"
    )


def _targets(found: Mapping[str, Mapping[str, Any]]) -> str:
    judged = list(targets(found))
    rows = [[target.what, target.wanted, target.found, verdict(target.reached)] for target in judged]
    reached = sum(target.reached for target in judged)
    head = f"## Targets\n\n{reached} of {len(judged)} reached."
    return f"{head}\n\n{table(['target', 'wanted', 'found', ''], rows)}" if rows else ""
