"""Which VAEs a request means, decided without reading a weight but for their digest."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gesso.core.errors import GessoError, InputError, ModelError
from gesso.core.requests import AUTO_VAE, OWN_VAE, ImageRequest, Precision, ResolvedVae, VaeUse
from gesso.models.folder import ModelDescription
from gesso.models.identity import Identities
from gesso.models.single_files.tiny import DECODER, ENCODER
from gesso.models.store import ModelStore
from gesso.models.vaes import VaeDescription, VaePlace, describe_vae, find_vae, tiny_vae_for, vae_beside


@dataclass(frozen=True, kw_only=True)
class VaeFacts:
    """A VAE that stands in for a model's own.

    Attributes:
        precision: as asked for.
    """

    description: VaeDescription
    sha256: str
    precision: Precision | None = None

    @property
    def reference(self) -> str:
        return self.description.place.name

    @property
    def force_upcast(self) -> bool:
        """Whether its config says that it overflows in float16."""
        return bool(self.description.component.config.get("force_upcast", not self.description.is_tiny))


class VaeFiles:
    """Finds and describes VAEs. Safe to use from many threads."""

    def __init__(self, store: ModelStore, identities: Identities, cache_folder: Path) -> None:
        self._store = store
        self._identities = identities
        self._cache_folder = cache_folder

    def chosen(self, request: ImageRequest, model: ModelDescription) -> Mapping[str, VaeFacts]:
        """What the request wants in place of the model's own, by `DECODER` and `ENCODER`.

        Raises:
            UnknownNameError: there is none of that name.
            InputError: it does not fit the model, lacks the half that it is wanted for, or is another file than the
                digest says.
            ModelError: it is no VAE, or damaged.
        """
        own = {DECODER: request.vae_decoder, ENCODER: request.vae_encoder}
        wanted = {half: _use(request.vae if value is None else value) for half, value in own.items()}
        beside = vae_beside(model.path) if "vae" not in request.parts else None
        found: dict[str, VaeFacts] = {}
        for half, use in wanted.items():
            if use.name not in {AUTO_VAE, OWN_VAE}:
                facts = self.facts(use, model)
            elif use != VaeUse(name=use.name):
                hint = "name the VAE; the name of the model stands for its own"
                raise InputError(f"The VAE `{use.name}` takes no digest and no number format", hint=hint)
            elif use.name == AUTO_VAE and beside is not None:
                facts = self._beside(beside, model)
            else:
                continue
            if half in facts.description.halves:
                found[half] = facts
            elif own[half] is not None:
                raise InputError(
                    f"The VAE `{facts.description.place.title}` has no {half}",
                    hint=f"leave `--vae-{half}` out to use that of `{model.name}`",
                )
        return found

    def for_previews(self, model: ModelDescription) -> VaeFacts | None:
        """A tiny VAE that is here and decodes what the model paints; `None` if there is none. Raises as `chosen`."""
        place = tiny_vae_for(model, self._store)
        return None if place is None else self._described(place, model)

    def facts(self, use: VaeUse | ResolvedVae, model: ModelDescription) -> VaeFacts:
        """Facts of one VAE. Raises as `chosen` does."""
        found = self._described(find_vae(use.name, self._store), model)
        if use.sha256 is not None and use.sha256 != found.sha256:
            raise InputError(
                f"`{found.description.place.path}` is not the VAE that was asked for: its sha256 begins with "
                f"{found.sha256[:10]}, wanted is {use.sha256[:10]}",
                hint="put the right file in its place, or name the VAE anew to take this one",
            )
        return replace(found, precision=use.precision)

    def _described(self, place: VaePlace, model: ModelDescription) -> VaeFacts:
        description = describe_vae(place, model, self._store, cache_folder=self._cache_folder)
        return VaeFacts(description=description, sha256=self._digest(description.component.weight_files))

    def _beside(self, path: Path, model: ModelDescription) -> VaeFacts:
        try:
            return self.facts(VaeUse(name=str(path.absolute())), model)
        except GessoError as error:
            raise ModelError(
                f"The VAE beside `{model.path.name}` cannot be used: {error.message}",
                hint="`--vae none` takes the model's own",
            ) from error

    def _digest(self, files: tuple[Path, ...]) -> str:
        digests = [self._identities.file_digest(file) for file in files]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _use(asked: str | VaeUse | None) -> VaeUse:
    return asked if isinstance(asked, VaeUse) else VaeUse(name=AUTO_VAE if asked is None else asked)
