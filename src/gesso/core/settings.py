"""Settings: flag > `GESSO_*` > project `gesso.toml` > user file > linked folders > default. One frozen object, passed
down."""

import os
import re
import string
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path, user_config_path
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as UndecodableError

from gesso.core.addresses import is_secure
from gesso.core.errors import InputError, SettingsError, UnknownNameError
from gesso.core.links import LINKS_FILE, read_links
from gesso.core.requests import NoiseSource, OutputFormat, Precision

ENV_PREFIX = "GESSO_"
PROJECT_FILE = "gesso.toml"
MOST_ROWS = 1024
"""Rows of a forward that can be set, and so the most that a recorded trace can speak of."""

_NOT_IN_PROJECTS: Mapping[str, str] = {
    "trust_remote_code": "decide what runs here",
    "civitai_endpoint": "be sent your token",
}
"""What a file that came with somebody's folder may not set, and what its writer could do otherwise."""
_WIDE = re.compile(r"\d{3}|[{]")
"""A width that a file name cannot have, or that another value would decide."""


def user_file() -> Path:
    """The settings file of this person on this machine. Raises `SettingsError` where nobody is at home."""
    return _at_home(user_config_path) / PROJECT_FILE


def _at_home(place: Callable[[str], Path]) -> Path:
    try:
        return place("gesso")
    except RuntimeError as error:  # a process without HOME, run by a user whom the system does not list
        raise SettingsError(
            "There is no home folder for settings and the cache: `HOME` is not set, and the system knows none",
            hint="set `HOME` to a folder that may be written",
        ) from error


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise InputError("The current folder was removed", hint="change to a folder that is there") from error


class Settings(BaseSettings):
    """What a person can set once for every request. An unknown key is refused."""

    model: str = "primer"
    """Model used where a request names none."""
    model_folders: tuple[Path, ...] = Field(default_factory=lambda: (Path("models"),))
    """Folders searched for models, in order. Gesso's own: files in them may be removed."""
    linked_folders: tuple[Path, ...] = ()
    """Folders of other studios, read in place and never written; `gesso models link` adds one."""
    device: str | None = None
    precision: Precision | None = None
    exact: bool = False
    noise_source: NoiseSource = NoiseSource.CPU
    threads: int | None = Field(default=None, ge=1, le=1024)
    """CPU threads that a network computes with; `None` is one for each core that this process may use."""
    max_rows: int = Field(default=16, ge=1, le=MOST_ROWS)
    """Rows of one forward at most. A picture with guidance is two rows."""
    exact_rows: int = Field(default=4, ge=1, le=MOST_ROWS)
    """Rows of every forward in exact mode; a power of two."""
    max_images: int = Field(default=16, ge=1)
    """Pictures that run at the same time at most, for each priority."""
    remembered_texts_mib: int = Field(default=64, ge=0)
    """Of each model in memory, what its text encoders made of the latest prompts; 0 reads every prompt anew."""
    max_models: int = Field(default=3, ge=1)
    """Models kept in memory; the least recently used leaves first."""
    vae_tiling_above_px: int = Field(default=2048 * 2048, ge=64 * 64)
    """Pictures with more pixels than this are decoded in tiles."""
    wildcard_folders: tuple[Path, ...] = (Path("wildcards"),)
    """Folders of lists that `__name__` in a prompt chooses from, in order."""
    style_files: tuple[Path, ...] = (Path("styles.csv"), Path("styles"))
    """Files of styles, and folders of such, in order."""
    previews: bool = False
    safety_checker: bool = False
    """Load and run the checker that some old model folders bring."""
    trust_remote_code: bool = False
    """Run Python files that come with a model. Never on by itself."""
    output_folder: Path = Path("outputs")
    output_pattern: str = "{date}/{number:05d}-{seed}"
    """Name of a saved picture without its suffix; fields: `date`, `number`, `seed`, `index`, `model`."""
    output_format: OutputFormat = OutputFormat.PNG
    cache_folder: Path = Field(default_factory=lambda: _at_home(user_cache_path))
    civitai_endpoint: str = "https://civitai.com"
    """Where CivitAI's API is, for `gesso models pull`. The hub's is set by its own variable, `HF_ENDPOINT`."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid")

    @field_validator("exact_rows")
    @classmethod
    def _power_of_two(cls, rows: int) -> int:
        if rows & (rows - 1):
            raise ValueError("must be a power of two")
        return rows

    @field_validator("civitai_endpoint")
    @classmethod
    def _secure(cls, address: str) -> str:
        if not is_secure(address):
            raise ValueError("must be an address that begins with https://")
        return address.rstrip("/")

    @field_validator("output_pattern")
    @classmethod
    def _known_fields(cls, pattern: str) -> str:
        try:
            if any(_WIDE.search(spec or "") for _, _, spec, _ in string.Formatter().parse(pattern)):
                raise ValueError("a width that no name has")
            sample = pattern.format(date="d", number=0, seed=0, index=0, model="m")
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"fields are date, number, seed, index, model; found a problem with {error}") from error
        if "\0" in sample:
            raise ValueError("must be a name that a file can have")
        if Path(sample).is_absolute() or ".." in Path(sample).parts:
            raise ValueError("must stay inside the output folder")
        return pattern

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings)


def load_settings(*, project: Path | None = None, user: Path | None = None, **flags: Any) -> Settings:
    """Read every source once and merge them.

    Args:
        project: the folder that may hold `gesso.toml`; the current one by default.
        user: the user's file, beside which the linked folders are kept; the platform's usual place by default.
        flags: values given on the command line; `None` means not given.

    Raises:
        SettingsError: an unknown key, a value of the wrong type, or a file that is not TOML; it names the source. Also
            where there is no home folder.
        InputError: the current folder was removed.
    """
    known = set(Settings.model_fields)
    merged: dict[str, Any] = {}
    sources: dict[str, str] = {}
    in_project = (project or _current_folder()) / PROJECT_FILE
    in_user = user or user_file()
    for path in (in_user, in_project):
        values = _read_file(path, known)
        refused = next((key for key in _NOT_IN_PROJECTS if values.get(key)), None) if path == in_project else None
        if refused is not None:
            raise SettingsError(
                f"`{path}` may not set `{refused}`",
                hint=f"whoever wrote the file would {_NOT_IN_PROJECTS[refused]}; set it in your own file or for one "
                "command",
            )
        merged.update(values)
        sources.update(dict.fromkeys(values, f"`{path}`"))
    if "linked_folders" not in merged and (linked := read_links(in_user.parent / LINKS_FILE)):
        merged["linked_folders"] = linked
        sources["linked_folders"] = f"`{in_user.parent / LINKS_FILE}`"
    for name in os.environ:
        if name.startswith(ENV_PREFIX):
            key = name.removeprefix(ENV_PREFIX).lower()
            _check_known(key, known, f"environment variable `{name}`")
            merged.pop(key, None)  # the environment wins over files
            sources[key] = f"environment variable `{name}`"
    given = {name: value for name, value in flags.items() if value is not None}
    merged.update(given)
    sources.update(dict.fromkeys(given, "the command line"))
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise _unusable(error, sources) from error
    except UndecodableError as error:
        raise _not_json(error, sources) from error


def _unusable(error: ValidationError, sources: Mapping[str, str]) -> SettingsError:
    first = error.errors()[0]
    key = str(first["loc"][0])
    place = "".join(f"[{part}]" for part in first["loc"][1:])
    source = sources.get(key, "the settings")
    reason = first["msg"].removeprefix("Value error, ")
    return SettingsError(
        f"Setting `{key}{place}` is not usable: {reason} (found `{first.get('input')}`)", hint=f"it is set by {source}"
    )


def _not_json(error: UndecodableError, sources: Mapping[str, str]) -> SettingsError:
    """The message of the library names the field and nothing else that helps."""
    named = re.search(r'field "(\w+)"', str(error))
    key = named[1] if named else ""
    return SettingsError(
        f"Setting `{key}` is not usable: {sources.get(key, 'an environment variable')} holds no JSON",
        hint="""a list is written like `["one", "two"]`""",
    )


def _read_file(path: Path, known: set[str]) -> dict[str, Any]:
    try:
        if not path.is_file():
            return {}
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"`{path}` is not a TOML file: {error}", hint="mend the file or move it away") from error
    except OSError as error:
        raise SettingsError(f"`{path}` could not be read: {error.strerror}", hint="check its rights") from error
    for key in values:
        _check_known(key, known, f"`{path}`")
    return values


def _check_known(key: str, known: set[str], source: str) -> None:
    if key not in known:
        nearest = UnknownNameError("setting", key, sorted(known)).nearest
        hint = f"nearest: {', '.join(nearest)}" if nearest else "`gesso doctor` lists the settings"
        raise SettingsError(f"Unknown setting `{key}` in {source}", hint=hint)
