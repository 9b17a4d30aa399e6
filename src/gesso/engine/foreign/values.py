"""What comes of the recipe of another program."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

from gesso.core.errors import InputError
from gesso.core.merging import merged
from gesso.core.requests import ImageRequest

BEGUN = "the picture that it began with is not in the file, `--image` gives it"
"""Why what hangs on it is left out."""
MASKED = "the picture and the mask that it began with are not in the file, `--image` and `--mask` give them"
"""Why what hangs on both is left out."""


class Program(StrEnum):
    """Who wrote a recipe."""

    AUTOMATIC1111 = "AUTOMATIC1111"
    FORGE = "Forge"
    SDNEXT = "SD.Next"
    COMFYUI = "ComfyUI"
    GESSO = "Gesso"
    """Of a picture that lost its own recipe and kept the text for others."""
    OTHER = "another program"
    """That writes as AUTOMATIC1111 does and names itself."""


@dataclass(frozen=True, kw_only=True)
class Carried:
    """A field of the recipe that the request has."""

    name: str
    """As the program calls it; in parentheses where it did not write it and means it."""
    value: str
    fields: Mapping[str, Any]
    """What it became in the request."""
    note: str = ""
    """How it is not quite the same, or what was assumed."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A field of the recipe that shapes the picture and that the request does not have."""

    name: str
    value: str
    why: str

    def told(self) -> str:
        """In one line."""
        return f"{_said(self.name, self.value)} is not carried over: {self.why}"


@dataclass(frozen=True, kw_only=True)
class NamedModel:
    """The model that the recipe names: what it is called there, and the hash of its weights as far as it is given."""

    name: str | None = None
    hash_: str | None = None


@dataclass(frozen=True, kw_only=True)
class ForeignRecipe:
    """A recipe of another program, carried over as far as it can be.

    Attributes:
        version: as the program writes it.
        fields: of an `ImageRequest`.
        described: fields that tell of the picture and do not shape it, or say what is so anyway.
    """

    program: Program
    version: str | None
    fields: Mapping[str, Any]
    model: NamedModel | None = None
    carried: tuple[Carried, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    described: tuple[tuple[str, str], ...] = ()

    @property
    def request(self) -> ImageRequest:
        """What asks for the picture."""
        return ImageRequest(**self.fields)

    def again(self, **overrides: Any) -> ImageRequest:
        """The same with other values of some fields; of what holds several, those not given are the recipe's.

        Raises:
            InputError: there is no prompt, neither given nor one of the recipe that is understood.
        """
        fields = merged(self.fields, overrides)
        if "prompt" not in fields:
            hint = 'give the words: `gesso generate --from IMAGE "a red circle"`, or `again(prompt="a red circle")`'
            raise InputError(f"There is no prompt: none is understood of what {self.program} says", hint=hint)
        return ImageRequest(**fields)

    @property
    def whole(self) -> bool:
        """Whether everything that shapes the picture was carried over."""
        return not self.left_out

    @property
    def made_by(self) -> str:
        """The program and its version."""
        return f"{self.program} {self.version}" if self.version else str(self.program)

    def warnings(self) -> list[str]:
        """What to know before the picture is made again, a line each."""
        noted = [f"{_said(one.name, one.value)}: {one.note}" for one in self.carried if one.note]
        return [one.told() for one in self.left_out] + noted

    def without(self, *names: str, why: str) -> "ForeignRecipe":
        """Those fields of the request taken out, and what they came from left out."""
        gone = [one for one in self.carried if one.fields.keys() & set(names)]
        kept: list[Carried] = []
        for one in self.carried:
            fields = {name: value for name, value in one.fields.items() if name not in names}
            if fields or not one.fields:
                kept.append(replace(one, fields=fields))
        left = [LeftOut(name=one.name, value=one.value, why=why) for one in gone if not one.name.startswith("(")]
        return replace(
            self,
            fields={name: value for name, value in self.fields.items() if name not in names},
            carried=tuple(kept),
            left_out=(*self.left_out, *left),
        )

    def with_fields(self, name: str, value: str, note: str = "", **fields: Any) -> "ForeignRecipe":
        """With more fields of the request, and what they came from."""
        carried = Carried(name=name, value=value, fields=fields, note=note)
        return replace(self, fields={**self.fields, **fields}, carried=(*self.carried, carried))

    def replacing(self, **fields: Any) -> "ForeignRecipe":
        """With other values of fields that it has; `None` leaves one open."""
        changed = {**self.fields, **fields}
        return replace(self, fields={name: value for name, value in changed.items() if value is not None})

    def describing(self, name: str) -> "ForeignRecipe":
        """Without a field that says what is so anyway, or what the program itself does not heed."""
        said = tuple((one.name, one.value) for one in self.carried if name in one.fields)
        bare = self.without(name, why="")
        return replace(bare, left_out=self.left_out, described=(*self.described, *said))

    def leaving(self, name: str, value: str, why: str) -> "ForeignRecipe":
        """With one more field that is left out."""
        return replace(self, left_out=(*self.left_out, LeftOut(name=name, value=value, why=why)))


@dataclass(kw_only=True)
class Ledger:
    """Where every field of a recipe is entered once while it is read."""

    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    carried: list[Carried] = field(default_factory=list[Carried])
    left_out: list[LeftOut] = field(default_factory=list[LeftOut])
    described: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def carry(self, name: str, value: object, note: str = "", **fields: Any) -> None:
        """It becomes these fields of the request."""
        self.fields.update(fields)
        self.carried.append(Carried(name=name, value=str(value), fields=fields, note=note))

    def imply(self, name: str, value: object, note: str = "", **fields: Any) -> None:
        """The program did not write it, and means it."""
        self.carry(f"({name})", value, note, **fields)

    def leave(self, name: str, value: object, why: str) -> None:
        """It shapes the picture and is not carried over."""
        self.left_out.append(LeftOut(name=name, value=str(value), why=why))

    def describe(self, name: str, value: object) -> None:
        """It shapes nothing."""
        self.described.append((name, str(value)))

    def closed(self, program: Program, version: str | None, model: NamedModel | None) -> ForeignRecipe:
        """The recipe."""
        return ForeignRecipe(
            program=program,
            version=version,
            fields=dict(self.fields),
            model=model,
            carried=tuple(self.carried),
            left_out=tuple(self.left_out),
            described=tuple(self.described),
        )


def _said(name: str, value: str) -> str:
    return f"{shortened(name)} `{shortened(value)}`" if value else shortened(name)


def shortened(text: str, most: int = 80) -> str:
    """`text` on a line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def file_name(value: object) -> str:
    """`sd/toy.safetensors` as a name here: no ending, folders with `/`."""
    path = PurePosixPath(str(value).replace("\\", "/"))
    known = path.suffix.lower() in {".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".sft"}
    return str(path.with_suffix("")) if known else str(path)
