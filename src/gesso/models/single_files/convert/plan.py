"""Which tensor of the result is made of which tensors of the source: every one of them exactly once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gesso.core.errors import ModelError
from gesso.models.families import Role
from gesso.models.folder import ComponentDescription, ModelDescription
from gesso.models.headers.base import TensorShape
from gesso.models.headers.places import Place, places_of
from gesso.models.single_files.assemble import some
from gesso.models.single_files.blueprint import prefixes_of
from gesso.models.single_files.convert.numbers import WIDTHS
from gesso.models.single_files.convert.values import Values, joined, values_of
from gesso.models.single_files.find import find_network, needless
from gesso.models.single_files.maps.networks import SPELLINGS, written_map
from gesso.models.views import Piece

_WITHOUT_PLACE = frozenset({Role.SAFETY, Role.IMAGE})
"""Networks that a single file has no place for, and that pictures do not need."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One tensor that is to be written."""

    values: Values
    dtype: str

    @property
    def tensor(self) -> TensorShape:
        return TensorShape(dtype=self.dtype, shape=self.values.shape)


Targets = Mapping[str, Target]
"""By the name in the file that is written."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that is written."""

    networks: Mapping[str, Targets] = field(repr=False)
    left_out: tuple[str, ...]
    """Parts that the result has no place for."""


def plan_folder(description: ModelDescription, dtype: str | None) -> Plan:
    """A folder of diffusers.

    Args:
        dtype: of all weights that are real numbers; `None` keeps that of each.

    Raises:
        ModelError: a tensor is missing, or would be left over.
    """
    networks = {
        network.name: {name: _target(values, dtype) for name, values in _values(network).items()}
        for network in _convertible(description)
    }
    _refuse_left_over(description)
    return Plan(networks=networks, left_out=_left_out(description))


def plan_file(description: ModelDescription, dtype: str | None) -> Plan:
    """A single file with the original names.

    Raises:
        ModelError: as `plan_folder`, or there is no such file of this pipeline.
    """
    prefixes = prefixes_of(description.pipeline_class)
    if not prefixes:
        raise ModelError(
            f"`{description.name}` is a `{description.pipeline_class}`, of which there are no single files",
            hint="of Stable Diffusion 1 to 3.5, SDXL and Flux.1 there are",
        )
    networks = {
        network.name: _renamed(network, _prefix(description, network, prefixes), dtype)
        for network in _convertible(description)
    }
    _refuse_left_over(description)
    return Plan(networks=networks, left_out=_left_out(description))


def plan_copy(places: Mapping[str, Place], dtype: str | None) -> Targets:
    """The same tensors under the same names."""
    whole = {key: values_of(Piece(key=key, stored=place.tensor), place) for key, place in places.items()}
    return {key: _target(values, dtype) for key, values in whole.items()}


def _prefix(
    description: ModelDescription, network: ComponentDescription, prefixes: Mapping[str, tuple[str, ...]]
) -> str:
    """SD 1 and 2 share a pipeline and differ in their text encoder: 2 has that of OpenCLIP."""
    choices = prefixes[network.name]
    is_sd2 = description.family is not None and description.family.name == "sd2"
    return "cond_stage_model.model." if is_sd2 and network.name == "text_encoder" else choices[0]


def _renamed(network: ComponentDescription, prefix: str, dtype: str | None) -> Targets:
    values = _values(network)
    targets: dict[str, Target] = {}
    for entry in written_map(network.class_name, network.config, prefix).entries:
        parts = joined([values.pop(name) for name in entry.diffusers])
        targets[prefix + entry.original] = _target(parts.with_form(entry.form), dtype)
    if values:  # a map that names less than a folder has; `_values` found the folder's names by the same map
        raise ModelError(f"`{network.name}` has tensors that the original layout has no name for: {some(values)}")
    return targets


def _convertible(description: ModelDescription) -> Iterable[ComponentDescription]:
    for network in description.networks:
        if network.role in _WITHOUT_PLACE:
            continue
        if network.class_name not in SPELLINGS:
            raise ModelError(
                f"`{network.name}` is a `{network.class_name}`, which single files do not have",
                hint="of Stable Diffusion 1 to 3.5, SDXL and Flux.1 there are single files",
            )
        yield network


def _left_out(description: ModelDescription) -> tuple[str, ...]:
    beside = {"feature_extractor"} & description.components.keys()
    return tuple(sorted(beside | {network.name for network in description.networks if network.role in _WITHOUT_PLACE}))


def _values(network: ComponentDescription) -> dict[str, Values]:
    """Every tensor of a network by its name in diffusers."""
    pieces, places = pieces_of(network)
    return {name: values_of(piece, places[piece.key]) for name, piece in pieces.items()}


def pieces_of(network: ComponentDescription) -> tuple[Mapping[str, Piece], Mapping[str, Place]]:
    """(the tensors of a network, the tensors of its files); shards are one file here.

    Raises:
        ModelError: its files lack a tensor, or hold one that it does not have.
    """
    if network.view is not None:
        return network.view.pieces, places_of(network.view.path)
    places: dict[str, Place] = {}
    for path in network.weight_files:
        places.update(places_of(path))
    tensors = {key: place.tensor for key, place in places.items()}
    found = find_network(network.folder, tensors, network.class_name, network.config, ("",), fit=False)
    if found is None or found.missing:
        lacks = some(found.missing) if found is not None else "all of them"
        raise ModelError(
            f"`{network.folder}` lacks tensors that its `config.json` promises: {lacks}",
            hint="download or copy the whole folder again",
        )
    _refuse(network.folder.name, tensors.keys() - found.keys)
    return found.view.pieces, places


def _refuse_left_over(description: ModelDescription) -> None:
    """A tensor of a single file that no network takes."""
    if not description.path.is_file():
        return
    views = [network.view for network in description.networks if network.view is not None]
    used = {piece.key for view in views if view.path == description.path for piece in view.pieces.values()}
    _refuse(description.path.name, places_of(description.path).keys() - used)


def _refuse(where: str, keys: Iterable[str]) -> None:
    left_over = sorted(key for key in keys if not needless(key))
    if left_over:
        raise ModelError(
            f"`{where}` holds tensors that the result would have no place for: {some(left_over)}",
            hint="it is more than a plain model: take them out, or convert to another file, which keeps all names",
        )


def _target(values: Values, dtype: str | None) -> Target:
    return Target(values=values, dtype=dtype if dtype is not None and values.dtype in WIDTHS else values.dtype)
