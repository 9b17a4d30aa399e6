"""What a command knows of the call it belongs to: the options given before the command's name."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer

from gesso.core.errors import SettingsError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gesso.core.requests import Value
    from gesso.core.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """Settings given on the command line, by name."""

    flags: dict[str, Any] = field(default_factory=dict[str, Any])

    def settings(self) -> "Settings":
        """Every source of settings merged, flags first. Raises `SettingsError`."""
        from gesso.core.settings import Settings, load_settings

        known = sorted(Settings.model_fields)
        for name in self.flags:
            if name not in known:
                nearest = UnknownNameError("setting", name, known).nearest
                hint = f"nearest: {', '.join(nearest)}" if nearest else "`gesso doctor` lists the settings"
                raise SettingsError(f"Unknown setting `{name}` in `--setting`", hint=hint)
        return load_settings(**self.flags)


def settings_of(context: typer.Context) -> "Settings":
    """The settings that hold for the command of `context`."""
    invocation = context.obj if isinstance(context.obj, Invocation) else Invocation()
    return invocation.settings()


def pairs(option: str, texts: list[str] | None) -> dict[str, Any]:
    """Values of a repeated `KEY=VALUE` option. A value is JSON where it reads as JSON, and else the text itself.

    Raises:
        UsageError: a text without `=`, a key given twice, or a value that begins like JSON and is none.
    """
    return {key: _json_or_text(option, key, text) for key, text in _split(option, texts).items()}


def _split(option: str, texts: list[str] | None) -> dict[str, str]:
    values: dict[str, str] = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(f"`{option} {text}` is not of the form KEY=VALUE")
        if key in values:
            raise UsageError(f"`{option}` gives `{key}` twice", hint="leave one of the two out")
        values[key] = value.strip()
    return values


def parts_from(texts: list[str] | None) -> dict[str, str] | None:
    """Parts of a model and where they come from, of `--part`; `None` if it was not given."""
    return _split("--part", texts) or None


def adapters(texts: list[str] | None) -> tuple[dict[str, Any], ...] | None:
    """The adapters of repeated `--lora`, as fields of `AdapterUse`. Raises `UsageError`."""
    from gesso.core.adapter_text import parse_adapter

    hint = "write NAME, NAME:WEIGHT, NAME:WEIGHT:TEXT_WEIGHT, behind it @FROM-TO and ,BLOCK=FACTOR"
    return _each("--lora", texts, parse_adapter, hint)


def embeddings(texts: list[str] | None) -> tuple[dict[str, Any], ...] | None:
    """The embeddings of repeated `--embedding`, as fields of `EmbeddingUse`. Raises `UsageError`."""
    from gesso.core.embedding_text import parse_embedding

    return _each("--embedding", texts, parse_embedding, "write NAME, or NAME=WORD for another word than its own")


def _each(
    option: str, texts: list[str] | None, parse: "Callable[[str], Value]", hint: str
) -> tuple[dict[str, Any], ...] | None:
    """The values of a repeated option as fields; `None` if it was not given."""
    found: list[dict[str, Any]] = []
    for text in texts or ():
        try:
            found.append(parse(text).model_dump())
        except ValueError as error:
            raise UsageError(f"`{option} {text}` is not understood: {error}", hint=hint) from error
    return tuple(found) or None


def _json_or_text(option: str, key: str, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        raise UsageError(
            f"`{option} {key}=…` has too many brackets inside each other", hint="write it flatter"
        ) from error
    except ValueError as error:
        if text.startswith(("{", "[", '"')):
            hint = (
                "put it in single quotes for the shell; a text that begins with a bracket, in double quotes inside them"
            )
            raise UsageError(f"`{option} {key}=…` is not valid JSON: {error}", hint=hint) from error
        return text


def _no_constant(name: str) -> Any:
    raise ValueError(f"`{name}` is not a JSON number")
