"""The tables of the smaller parts."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from benchmarks.arms.kinds import ARMS
from benchmarks.conversion import allowed_bytes
from benchmarks.report.text import figure, mebibytes, milliseconds, spread, table
from gesso.engine.bench.figures import percentile


def latency(part: Mapping[str, Any]) -> str:
    """Somebody who waits, beside eight who do not."""
    pooled = {arm: [s for repeat in repeats for s in repeat] for arm, repeats in part["arms"].items()}
    base = percentile(pooled["lock"], 0.95)
    rows = [
        [
            ARMS[arm],
            str(len(seconds)),
            milliseconds(percentile(seconds, 0.5)),
            milliseconds(percentile(seconds, 0.95)),
            figure(percentile(seconds, 0.95) / base),
        ]
        for arm, seconds in pooled.items()
    ]
    text = (
        f"Eight clients want pictures of {part['long_steps']} steps, one after another; a ninth wants pictures of "
        f"{part['short_steps']} steps with a higher priority, where the arm knows priorities."
    ).replace("Eight", str(part["others"]) if part["others"] != 8 else "Eight")
    return f"{text}\n\n{table(['arm', 'requests', 'p50', 'p95', 'p95 over the lock'], rows)}"


def person(part: Mapping[str, Any]) -> str:
    """One person, several pictures."""
    titles = {
        "lock": f"diffusers, {part['count']} runs in a loop",
        "batch": f"diffusers, one batch of {part['count']}",
        "fast": f"Gesso fast, `--count {part['count']}`",
        "exact": f"Gesso exact, `--count {part['count']}`",
    }
    base = part["arms"]["lock"]["seconds"]
    rows = [
        [
            titles[arm],
            spread(found["seconds"]),
            spread([one / other for one, other in zip(base, found["seconds"], strict=True)]),
            f"{found['equal']} of {part['count']}",
            f"{found['largest_difference']} of 255",
        ]
        for arm, found in part["arms"].items()
    ]
    header = ["way", "seconds", "times as fast", "equal pictures", "largest difference"]
    return f"The primer, {part['steps']} steps, {part['threads']} thread(s).\n\n{table(header, rows)}"


def guidance(part: Mapping[str, Any]) -> str:
    """One pass of two rows against two of one."""
    rows = [
        [
            each["name"],
            milliseconds(each["one_pass"]),
            milliseconds(each["two_passes"]),
            figure(each["two_passes"] / each["one_pass"]),
        ]
        for each in part["subjects"]
    ]
    text = (
        "A guided step needs the denoiser with and without the prompt. diffusers and Gesso ask for both in one pass of "
        "two rows. Bare forwards, each way with the number of threads that suits it best:"
    )
    header = ["model", "one pass of two rows", "two passes of one row", "times as fast in one pass"]
    return f"{text}\n\n{table(header, rows)}"


def startup(part: Mapping[str, Any]) -> str:
    """Fresh processes, and one that is warm."""
    rows = [[name, spread(seconds), f"{median(seconds):.2f}"] for name, seconds in part["seconds"].items()]
    text = f"Seconds of whole processes with their files in the system's cache; pictures of {part['steps']} steps."
    return f"{text}\n\n{table(['what', 'seconds', 'median'], rows)}"


def install(part: Mapping[str, Any]) -> str:
    """From a clone to a picture."""
    rows = [
        ["downloaded, MiB", mebibytes(part["downloaded_bytes"])],
        ["downloading, seconds (from the package index that this machine uses)", f"{part['download_seconds']:.0f}"],
        ["installing, seconds", f"{part['install_seconds']:.0f}"],
        [
            "first picture, seconds (Python compiles what it imports for the first time)",
            f"{part['picture_seconds']:.0f}",
        ],
        ["minutes from clone to picture", f"{part['minutes']:.1f}"],
    ]
    return table(["an empty environment", ""], rows)


def conversion(part: Mapping[str, Any]) -> str:
    """A full-size model there and back."""
    rows = [
        [way, mebibytes(found["peak_bytes"]), mebibytes(found["check_peak_bytes"] or None), f"{found['seconds']:.0f}"]
        for way, found in part["ways"].items()
    ]
    text = (
        f"An {part['family'].upper()} of random float16 weights, {mebibytes(part['weight_bytes'])} MiB. Its largest "
        f"tensor has {mebibytes(part['largest_tensor_bytes'])} MiB, so that a conversion may take "
        f"{mebibytes(allowed_bytes(part['largest_tensor_bytes']))} MiB (1.3 times the largest tensor, and 300 MB). "
        "Each way is `gesso models convert` in a process of its own: with reading back every tensor, the sum of the "
        "file, and the building of the networks, which a second process does."
    )
    return f"{text}\n\n{table(['way', 'peak, MiB', 'peak of the check, MiB', 'seconds'], rows)}"
