"""What CivitAI has of a model, by its public REST API.

Fields: https://developer.civitai.com/site/reference/model-versions and the wiki of `civitai/civitai`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gesso.core import addresses
from gesso.core.errors import SourceError
from gesso.models.pulling.names import safe_name
from gesso.models.pulling.origin import Origin
from gesso.models.pulling.patience import Patience
from gesso.models.pulling.plan import PullPlan, RemoteFile
from gesso.models.pulling.remote import Remote
from gesso.models.pulling.sources import CivitaiSource, Endpoints, reference
from gesso.models.weights import WEIGHT_SUFFIXES

_DANGER = "Danger"
_MODEL = "Model"
_MOST_WORDS = 100


@dataclass(frozen=True, kw_only=True)
class CivitaiAsking:
    """How CivitAI is asked."""

    source: CivitaiSource
    endpoints: Endpoints
    remote: Remote
    patience: Patience

    def document(self, path: str) -> Mapping[str, Any]:
        return self.patience.persist(lambda: self.remote.document(f"{self.endpoints.civitai}/api/v1/{path}"))


def plan_from_civitai(asking: CivitaiAsking) -> PullPlan:
    """What would be fetched: the main file of a version.

    Raises:
        SourceError: there is no such thing, it is not for us, was found dangerous, or is no file of weights.
        NetworkError: CivitAI could not be asked.
    """
    model, version = _model_and_version(asking)
    file = _main_file(version)
    name = safe_name(str(file.get("name", "")))
    size = file.get("sizeKB")
    hashes = file.get("hashes")
    model_id = model.get("id") or version.get("modelId")
    words = version.get("trainedWords")
    return PullPlan(
        name=name,
        folder=False,
        files=(
            RemoteFile(
                path=name,
                url=_url(asking, file, version),
                size_bytes=round(size * 1024) if isinstance(size, int | float) else None,
                exact_size=False,
                sha256=_text(hashes.get("SHA256")) if isinstance(hashes, dict) else None,
            ),
        ),
        origin=Origin(
            reference=reference(asking.source, asking.endpoints),
            url=f"{addresses.told(asking.endpoints.civitai)}/models/{model_id}",
            revision=str(version.get("id")),
            title=f"{_text(model.get('name')) or name}, {_text(version.get('name')) or version.get('id')}",
            licence=_licence(model),
            base_model=_text(version.get("baseModel")),
            trained_words=tuple(str(word) for word in words[:_MOST_WORDS]) if isinstance(words, list) else (),
        ),
    )


def _model_and_version(asking: CivitaiAsking) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    source = asking.source
    if source.model is None:
        version = asking.document(f"model-versions/{source.version}")
        model_id = version.get("modelId")
        return (asking.document(f"models/{model_id}") if isinstance(model_id, int) else {}), version
    model = asking.document(f"models/{source.model}")
    versions = [one for one in model.get("modelVersions") or [] if isinstance(one, dict)]
    if source.version is None and versions:
        return model, versions[0]  # the newest is first
    found = next((one for one in versions if one.get("id") == source.version), None)
    if found is None:
        there = ", ".join(f"{one.get('id')} ({one.get('name')})" for one in versions[:8])
        raise SourceError(
            f"Model {source.model} on CivitAI has no version {source.version or 'that is published'}",
            hint=f"it has {there}" if there else None,
        )
    return model, found


def _main_file(version: Mapping[str, Any]) -> Mapping[str, Any]:
    """The file that CivitAI calls primary, safetensors before others.

    Raises:
        SourceError: there is none; or what it is was found to be dangerous.
    """
    files = [
        file
        for file in version.get("files") or []
        if isinstance(file, dict) and str(file.get("name", "")).lower().endswith(WEIGHT_SUFFIXES)
    ]
    if not files:
        raise SourceError(f"Version {version.get('id')} on CivitAI has no file of weights")

    def rank(file: Mapping[str, Any]) -> tuple[bool, bool, bool]:
        safe = str(file["name"]).lower().endswith(".safetensors")
        return (file.get("type", _MODEL) != _MODEL, not file.get("primary", False), not safe)

    chosen = min(files, key=rank)
    if _DANGER in {chosen.get("pickleScanResult"), chosen.get("virusScanResult")}:
        raise SourceError(f"CivitAI found `{str(chosen['name'])[:80]}` to be dangerous; it is not fetched")
    return chosen


def _url(asking: CivitaiAsking, file: Mapping[str, Any], version: Mapping[str, Any]) -> str:
    url = _text(file.get("downloadUrl")) or f"{asking.endpoints.civitai}/api/download/models/{version.get('id')}"
    if not addresses.is_secure(url):
        raise SourceError(f"CivitAI names an address that is not https: `{addresses.told(url)}`")
    return url


def _licence(model: Mapping[str, Any]) -> str | None:
    """What its maker allows, in words; CivitAI knows licences as a few switches."""
    uses = model.get("allowCommercialUse")
    if uses is None:
        return None
    allowed = ", ".join(str(use) for use in uses) if isinstance(uses, list) else str(uses)
    parts = [f"commercial use: {allowed or 'None'}"]
    parts += ["credit its maker"] if model.get("allowNoCredit") is False else []
    parts += ["no derivatives"] if model.get("allowDerivatives") is False else []
    parts += ["derivatives under the same terms"] if model.get("allowDifferentLicense") is False else []
    return f"CivitAI: {'; '.join(parts)}"


def _text(value: Any) -> str | None:
    return value.strip()[:300] if isinstance(value, str) and value.strip() else None
