"""docs/reference/families.md, made of the records of pipeline classes and of the row data of their networks.

`PYTHONPATH=tests python -m family_page` writes it anew.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import diffusers

from gesso.cli.models import runs_alone, tried_families

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "families.md"

_HEAD = """\
# Families

*Made by `tests/family_page.py` from the data that `gesso models families` prints; tests keep both true.*

Gesso runs the text-to-image classes of diffusers as they are. These {count} were tried, with diffusers {version}: each
with thin networks of random weights, on a CPU, in float32. That shows that the wiring is right, not what the released
weights look like, and nothing of other devices. For each class, tests show that

- a lone picture has the bytes of plain diffusers;
- pictures made together are within 1e-3 of their solo runs on the average, and replay with the same bytes;
- in [exact mode](../concepts/hosted-components.md#fast-and-exact) the bytes do not depend on company.

A network **shares forwards** where its class has data that says which arguments are rows; tests compare the bytes of a
row beside different neighbours. A network without such data, or one that gives back what cannot be told apart by rows,
**runs alone** and says so once: slower in company, never wrong. An autoencoder takes one picture
at a time ([why](../decisions/0008-pictures-are-decoded-one-by-one.md)) and stands in neither column.

"""

_FIRST = """\
## First-class families

Gesso reads the prompt itself: it may be of any length that the text encoders allow, and pictures of one request share
the embeddings. Defaults, sizes and previews are those of the family.

"""

_OTHERS = """\
## Other pipelines

The pipeline reads the prompt itself; one that is longer than it reads is refused, never cut. Steps and guidance are the
pipeline's own defaults, unless the folder says otherwise.

"""

_TAIL = """\
## How to read it

- **Sizes**: width and height are multiples of this; others are refused, with the nearest that are not.
- **Guidance**: *second pass* is a second row or call without the prompt. *Input of the network* is a number that the
  network reads: one row a picture, and a negative prompt would have no effect.
- Lumina 2 shares forwards between prompts of as many tokens, Kandinsky 3 also only between pictures that are all guided
  or all not: their networks, or pipelines, cut the text to the longest of the batch.
- HunyuanDiT makes the sizes that are asked, not the nearest of its own; the argument `use_resolution_binning` brings
  those back. PixArt and Sana paint the nearest size that they were trained on and scale it to what was asked, as
  diffusers has it; the same argument, `false`, has them paint the size itself.
- Of families with variants the row tells of the undistilled one: Flux.1 schnell and Flux.2 klein have no guidance, and
  Z-Image Turbo wants none.

## Any other class

It runs as its folder says, with its own reading of the prompt, and its networks run alone where their classes have no
data; a test does so with `BriaPipeline`. A picture of another size than was asked for comes with a warning: some
pipelines, such as `HiDreamImagePipeline`, make sizes of their own. Not tried: classes that need packages beyond the
base install (Kolors: sentencepiece; OmniGen: torchvision), and models that bring code of their own.
"""


def page() -> str:
    """The page as it should be."""
    entries = tried_families()
    first, others = ([entry for entry in entries if bool(entry["family"]) is own] for own in (True, False))
    head = _HEAD.format(count=len(entries), version=diffusers.__version__)
    return head + _FIRST + _table(first) + _OTHERS + _table(others) + _TAIL


def _table(entries: Sequence[Mapping[str, Any]]) -> str:
    titles = ("Family", "Pipeline", "Share forwards", "Run alone", "Sizes", "Guidance", "Negative prompt")
    rows = [titles, ("---",) * len(titles), *map(_cells, entries)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows) + "\n"


def _cells(entry: Mapping[str, Any]) -> tuple[str, ...]:
    title = entry["title"] + (f" (`{entry['family']}`)" if entry["family"] else "")
    return (
        title,
        f"`{entry['pipeline']}`",
        _names(network for network in entry["networks"] if network["merges"]),
        _names(network for network in entry["networks"] if runs_alone(network)) or "none",
        f"{entry['size_multiple_px']} px",
        str(entry["guidance"]),
        "yes" if entry["negative_prompt"] else "no",
    )


def _names(networks: Iterable[Mapping[str, Any]]) -> str:
    return "<br>".join(f"`{network['name']}`: {network['class']}" for network in networks)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
