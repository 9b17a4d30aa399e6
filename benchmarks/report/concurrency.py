"""The tables of many clients at once, on the processor or on an accelerator."""

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from benchmarks.arms.kinds import ARMS
from benchmarks.report.ratios import Cell, cells, latencies, padded_share, rates, ratios, rows_per_forward
from benchmarks.report.text import figure, mebibytes, milliseconds, spread, table
from benchmarks.rounds import equality_of
from gesso.engine.bench.figures import percentile

_TITLES = {"homogeneous": "alike", "mixed": "mixed", "editing": "text, picture and mask"}


def sections(part: Mapping[str, Any]) -> Iterator[str]:
    """The crossover, the ceilings, then every cell of every model."""
    yield _crossover(part)
    yield _ceilings(part)
    yield _memory(part)
    yield _transport(part)
    for subject in part["subjects"]:
        yield _subject(subject)


def editing_sections(part: Mapping[str, Any]) -> Iterator[str]:
    """The same of pictures as input."""
    yield _crossover(part)
    for subject in part["subjects"]:
        yield _subject(subject)


def _crossover(part: Mapping[str, Any]) -> str:
    arms = [arm for arm in part["arms"] if arm != "lock"]
    rows: list[list[str]] = []
    for subject in part["subjects"]:
        for kind in _TITLES:
            for cell in cells(subject, kind=kind):
                gains = [spread(ratios(cell, arm, over="lock")) if arm in cell["arms"] else "" for arm in arms]
                share = median(ratios(cell, "fast", over="lock")) / subject["ceiling"]
                # With few clients forwards have fewer rows than those that the ceiling is measured with.
                shown = f"{share:.0%}" if cell["clients"] >= 8 else ""
                rows.append([subject["name"], _TITLES[kind], str(cell["clients"]), *gains, shown])
    header = ["model", "requests", "clients", *(ARMS[arm] for arm in arms), "fast, share of the ceiling"]
    text = (
        "Pictures a second over those of diffusers behind a lock: median of the repeats, least and greatest. "
        f"{_repeats(part)} repeats: a slow machine makes fewer."
    )
    return f"### Against a lock\n\n{text}\n\n{table(header, rows)}"


def _repeats(part: Mapping[str, Any]) -> str:
    made = {len(each) for subject in part["subjects"] for cell in subject["cells"] for each in cell["arms"].values()}
    return str(min(made)) if len(made) == 1 else f"{min(made)} to {max(made)}"


def _ceilings(part: Mapping[str, Any]) -> str:
    rows: list[list[str]] = []
    for subject in part["subjects"]:
        for threads, seconds in subject["row_seconds"].items():
            each = {int(count): took / int(count) for count, took in seconds.items()}
            rows.append(
                [
                    subject["name"],
                    threads,
                    *(milliseconds(each[count]) for count in sorted(each)),
                    figure(each[subject["rows_alone"]] / each[8 * subject["rows_alone"]]),
                    f"{2 * subject['flops_per_row'] / seconds['2'] / subject['matmul_flops']:.0%}",
                    f"{16 * subject['flops_per_row'] / seconds['16'] / subject['matmul_flops']:.0%}",
                ]
            )
    counts = sorted(int(count) for count in next(iter(part["subjects"][0]["row_seconds"].values())))
    header = [
        "model",
        "threads",
        *(f"{count} rows" if count > 1 else "1 row" for count in counts),
        "one over eight pictures",
        "of matmul, 2 rows",
        "of matmul, 16 rows",
    ]
    text = (
        "Time for each row in a bare forward of the denoiser, without any pipeline. What shares forwards cannot gain "
        "more on the denoiser than a row costs less in forwards for eight pictures than in those for one (two rows "
        "with guidance). The ceiling of a model takes for each side the number of threads that suits it best. "
        "The last columns are shares of what one large matrix product reaches."
    )
    return f"### What this machine can gain at all\n\n{text}\n\n{table(header, rows)}"


def _memory(part: Mapping[str, Any]) -> str:
    if not any(subject["peak_bytes"] for subject in part["subjects"]):
        return ""
    rows = [
        [subject["name"], *(mebibytes(subject["peak_bytes"].get(arm)) for arm in part["arms"])]
        for subject in part["subjects"]
    ]
    text = "Peak of resident memory in MiB, of the arm's processes together, its clients included."
    return f"### Memory\n\n{text}\n\n{table(['model', *(ARMS[arm] for arm in part['arms'])], rows)}"


def _transport(part: Mapping[str, Any]) -> str:
    """What the server around the batches costs: latency without the seconds that it computed."""
    rows: list[list[str]] = []
    for subject in part["subjects"]:
        for cell in cells(subject, kind="homogeneous", clients=1):
            if "litserve" in cell["arms"]:
                over = [
                    seconds - service
                    for answer in cell["arms"]["litserve"]
                    for seconds, service in zip(answer["latencies"], answer["service_seconds"], strict=True)
                ]
                rows.append([subject["name"], milliseconds(median(over))])
    text = (
        "LitServe serves over HTTP and has no other door, so its clients ask over loopback. For one client this much "
        "of a picture's time is HTTP, its queue between processes, and its wait of 20 ms for company:"
    )
    return f"### What the server costs\n\n{text}\n\n{table(['model', 'a picture'], rows)}" if rows else ""


def _subject(subject: Mapping[str, Any]) -> str:
    rows = [
        [_TITLES[cell["kind"]], str(cell["clients"]), ARMS[arm], *_figures(cell, arm)]
        for kind in _TITLES
        for cell in cells(subject, kind=kind)
        for arm in cell["arms"]
    ]
    header = [
        "requests",
        "clients",
        "arm",
        "pictures/s",
        "p50",
        "p95",
        "rows a forward",
        "padded",
        "equal pictures",
        "largest difference",
    ]
    about = f"{subject['steps']} steps where alike; the lock computes with {subject['lock_threads']} thread(s)."
    return f"### {subject['name']}\n\n{about}\n\n{table(header, rows)}"


def _figures(cell: Cell, arm: str) -> list[str]:
    answers = cell["arms"][arm]
    same = equality_of(answers) if "compared" in answers[0] else None
    return [
        spread(rates(cell, arm)),
        milliseconds(percentile(latencies(cell, arm), 0.5)),
        milliseconds(percentile(latencies(cell, arm), 0.95)),
        f"{rows_per_forward(cell, arm):.1f}",
        f"{padded_share(cell, arm):.0%}",
        "" if same is None else f"{same.equal} of {same.compared}",
        "" if same is None else f"{same.largest_difference} of 255",
    ]
