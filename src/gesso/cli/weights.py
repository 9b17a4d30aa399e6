"""What `gesso models show FILE` prints: what a weights file is, and why that is said of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gesso.cli.listing import PENDING, file_entry
from gesso.cli.output import one_line, print_columns, print_facts, print_json
from gesso.core.units import gib

if TYPE_CHECKING:
    from gesso.models.headers.base import WeightsHeader
    from gesso.models.index.entry import IndexedFile
    from gesso.models.recognition.facts import MakersFacts
    from gesso.models.recognition.kinds import Conclusion, Recognition

_SEVERAL = 8
"""More ranks than that are told by the lowest and the highest."""


def show_weights_file(path: Path, *, as_json: bool, indexed: "IndexedFile | None" = None) -> None:
    """Print what the weights file at `path` is.

    Args:
        indexed: what the index knows of it, told too.

    Raises:
        ModelError: it is no weights file, is damaged, or is not to be trusted.
    """
    from gesso.models.headers.read import read_weights_header
    from gesso.models.recognition.facts import makers_facts
    from gesso.models.recognition.recognise import recognise

    header = read_weights_header(path)
    recognition, facts = recognise(header), makers_facts(header.metadata)
    if as_json:
        entry = _entry(path, header, recognition, facts)
        print_json(entry if indexed is None else {**entry, **file_entry(indexed)})
        return
    lines = {**dict(_lines(path, header, recognition, facts)), **(_known(indexed) if indexed is not None else {})}
    print_facts([(name, one_line(value)) for name, value in lines.items() if value])
    print()
    print_columns(
        ("conclusion", "value", "because"),
        [(about, _told(conclusion), one_line(conclusion.evidence)) for about, conclusion in recognition.conclusions()],
    )


def _known(file: "IndexedFile") -> dict[str, str]:
    """What the index knows beyond the file itself."""
    facts = file.facts
    return {
        "name": file.name,
        "also": ", ".join(map(str, file.also)),
        "title": facts.title or "",
        "author": facts.author or "",
        "licence": facts.license or "",
        "base": facts.base or "",
        "words": ", ".join(facts.trained_words),
        "about": facts.description or "",
        "sha256": file.sha256 or PENDING,
        "hash": ", ".join(digits for digits in (file.short_hash, facts.old_hash) if digits),
        "note": "; ".join(note for note in (*facts.notes, file.misplaced) if note),
    }


def _lines(
    path: Path, header: "WeightsHeader", recognition: "Recognition", facts: "MakersFacts"
) -> list[tuple[str, str]]:
    return [
        ("file", str(path)),
        ("kind", _told(recognition.kind)),
        ("network", _told(recognition.network)),
        ("family", " ".join(word for word in (_told(recognition.family), _told(recognition.variant)) if word)),
        ("task", _told(recognition.task)),
        ("prediction", _told(recognition.prediction)),
        ("algorithm", _told(recognition.algorithm)),
        ("rank", _ranks(recognition.ranks)),
        ("vectors", str(recognition.vectors or "")),
        ("width", ", ".join(f"{name} {width}".strip() for name, width in recognition.widths.items())),
        ("trigger", _trigger(path, recognition) or ""),
        ("holds", ", ".join(part.value for part in recognition.parts)),
        ("layout", _told(recognition.layout)),
        ("format", header.format),
        ("dtype", ", ".join(_shares(header))),
        ("weights", f"{header.values:,} in {len(header.tensors):,} tensors, {gib(header.file_bytes)}"),
        ("title", facts.title or ""),
        ("author", facts.author or ""),
        ("licence", facts.license or ""),
        ("base", facts.base or ""),
        ("words", ", ".join(facts.trained_words)),
        ("about", facts.description or ""),
        ("note", "; ".join(recognition.notes)),
    ]


def _told(conclusion: "Conclusion | None") -> str:
    if conclusion is None:
        return ""
    return f"{conclusion.value} (a guess)" if conclusion.guess else conclusion.value


def _trigger(path: Path, recognition: "Recognition") -> str | None:
    """The word that an embedding stands for unless a request says another."""
    from gesso.models.adapters.find import title_of
    from gesso.models.recognition.kinds import Kind

    return (recognition.token or title_of(str(path))) if recognition.kind.value == Kind.TEXTUAL_INVERSION else None


def _ranks(ranks: tuple[int, ...]) -> str:
    return f"{ranks[0]} to {ranks[-1]}" if len(ranks) > _SEVERAL else ", ".join(map(str, ranks))


def _shares(header: "WeightsHeader") -> list[str]:
    """Each format, with its share where there are several."""
    counts = _dtypes(header)
    total = max(1, sum(counts.values()))
    return [name if len(counts) == 1 else f"{name} {count / total:.1%}" for name, count in counts.items()]


def _dtypes(header: "WeightsHeader") -> dict[str, int]:
    from gesso.models.weights import DTYPE_NAMES

    return {DTYPE_NAMES.get(name, name): count for name, count in header.values_by_dtype().items()}


def _entry(path: Path, header: "WeightsHeader", recognition: "Recognition", facts: "MakersFacts") -> dict[str, Any]:
    def value(conclusion: "Conclusion | None") -> str | None:
        return conclusion.value if conclusion else None

    return {
        "path": path,
        "kind": recognition.kind.value,
        "network": value(recognition.network),
        "family": recognition.families[0] if len(recognition.families) == 1 else None,
        "families": recognition.families,
        "variant": value(recognition.variant),
        "task": value(recognition.task),
        "prediction": value(recognition.prediction),
        "algorithm": value(recognition.algorithm),
        "ranks": recognition.ranks,
        "vectors": recognition.vectors,
        "widths": dict(recognition.widths),
        "trigger": _trigger(path, recognition),
        "holds": [part.value for part in recognition.parts],
        "layout": value(recognition.layout),
        "format": header.format,
        "dtypes": _dtypes(header),
        "parameters": header.values,
        "tensors": len(header.tensors),
        "bytes": header.file_bytes,
        "title": facts.title,
        "author": facts.author,
        "license": facts.license,
        "base": facts.base,
        "trained_words": facts.trained_words,
        "description": facts.description,
        "notes": recognition.notes,
        "evidence": [
            {"about": about, "value": found.value, "because": found.evidence, "guess": found.guess}
            for about, found in recognition.conclusions()
        ],
    }
