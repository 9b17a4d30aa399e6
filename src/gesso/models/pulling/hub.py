"""What the Hugging Face hub has of a model. Asked through `huggingface_hub`; files come over the same way as all."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gesso.core import addresses
from gesso.core.errors import NetworkError, SourceError, UsageError
from gesso.models.folder import INDEX_FILE
from gesso.models.pulling.hub_files import pipeline_files
from gesso.models.pulling.names import safe_name, safe_path
from gesso.models.pulling.origin import Origin
from gesso.models.pulling.patience import Patience, TransientError
from gesso.models.pulling.plan import PullPlan, RemoteFile
from gesso.models.pulling.remote import TIMEOUT_SECONDS, Remote, transient, wait_asked
from gesso.models.pulling.sources import Endpoints, HubSource, reference
from gesso.models.weights import WEIGHT_SUFFIXES

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

_SHOWN = 12
"""Files of a repository that are named to somebody who has to choose."""


@dataclass(frozen=True, kw_only=True)
class HubAsking:
    """How the hub is asked."""

    source: HubSource
    variant: str | None
    safety_checker: bool
    endpoints: Endpoints
    remote: Remote
    patience: Patience


def plan_from_hub(asking: HubAsking) -> PullPlan:
    """What would be fetched of a repository: its pipeline, or one file.

    Raises:
        SourceError: there is no such thing, it is not for us, or it is no model.
        NetworkError: the hub could not be asked.
    """
    source = asking.source
    info = asking.patience.persist(lambda: _info(asking))
    commit = info.sha or source.revision or "main"
    files = {sibling.rfilename: sibling for sibling in info.siblings or []}
    gated = bool(info.gated)
    page = f"{asking.endpoints.hub}/{source.repo}"
    if gated and asking.remote.token(page) is None:
        raise SourceError(
            f"`{source.repo}` is gated: the hub gives it to accounts that have accepted its terms",
            hint=f"accept them at {addresses.told(page)} and set `HF_TOKEN`",
        )
    licence, licence_url = _licence(info, page)
    origin = Origin(
        reference=reference(source, asking.endpoints),
        url=addresses.told(page),
        hub_id=source.repo,
        revision=commit,
        variant=asking.variant,
        title=source.repo,
        licence=licence,
        licence_url=licence_url,
        gated=gated,
        base_model=_base_model(info),
        trained_words=_instance_prompt(info),
    )
    if source.file is not None or INDEX_FILE not in files:
        return _single(asking, commit, files, origin)
    index = asking.patience.persist(lambda: asking.remote.document(_url(asking, commit, INDEX_FILE)))
    chosen = pipeline_files(files, index, variant=asking.variant, safety_checker=asking.safety_checker)
    return PullPlan(
        name=source.repo,
        folder=True,
        files=tuple(_remote_file(asking, commit, files[path], str(safe_path(path))) for path in chosen.paths),
        origin=origin,
        notes=chosen.notes,
    )


def _single(asking: HubAsking, commit: str, files: Mapping[str, "RepoSibling"], origin: Origin) -> PullPlan:
    """One file: the one that was named, or the only one that could be meant."""
    source, path = asking.source, asking.source.file
    if asking.variant is not None:
        raise UsageError("`--variant` chooses among the files of a pipeline, and this is a single file")
    if path is None:
        weights = [name for name in files if name.endswith(WEIGHT_SUFFIXES)]
        if len(weights) != 1:
            what = f"{len(weights)} files of weights" if weights else "no weights"
            raise SourceError(
                f"`{source.repo}` is no pipeline: it has no `{INDEX_FILE}`, and {what}",
                hint=f"name one, as `{source.repo}/FILE`: {', '.join(sorted(weights)[:_SHOWN])}" if weights else None,
            )
        path = weights[0]
    if path not in files:
        nearest = sorted(name for name in files if name.endswith(WEIGHT_SUFFIXES))[:_SHOWN]
        raise SourceError(
            f"`{source.repo}` has no file `{path}`",
            hint=f"it has {', '.join(nearest)}" if nearest else "it has no weights",
        )
    name = safe_name(str(safe_path(path)))
    return PullPlan(name=name, folder=False, files=(_remote_file(asking, commit, files[path], name),), origin=origin)


def _remote_file(asking: HubAsking, commit: str, sibling: "RepoSibling", path: str) -> RemoteFile:
    lfs: Mapping[str, Any] | None = sibling.lfs
    sha256 = lfs.get("sha256") if lfs else None
    return RemoteFile(
        path=path,
        url=_url(asking, commit, sibling.rfilename),
        size_bytes=sibling.size if sibling.size is not None else (lfs or {}).get("size"),
        sha256=sha256,
        git_sha1=None if sha256 else sibling.blob_id,
    )


def _url(asking: HubAsking, commit: str, path: str) -> str:
    from huggingface_hub import hf_hub_url

    return hf_hub_url(asking.source.repo, path, revision=commit, endpoint=asking.endpoints.hub)


def _info(asking: HubAsking) -> "ModelInfo":
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    source, hub = asking.source, asking.endpoints.hub
    token = asking.remote.token(hub)
    api = HfApi(endpoint=hub, token=token or False)
    page = f"{addresses.told(hub)}/{source.repo}"
    try:
        with _online(), transient(page):
            return api.model_info(source.repo, revision=source.revision, files_metadata=True, timeout=TIMEOUT_SECONDS)
    except HFValidationError as error:
        raise SourceError(f"`{source.repo}` cannot be a hub id", hint="one is written `ORG/NAME`") from error
    except RevisionNotFoundError as error:
        raise SourceError(f"`{source.repo}` has no revision `{source.revision}`") from error
    except GatedRepoError as error:
        raise SourceError(
            f"`{source.repo}` is gated, and the account of the token has not accepted its terms",
            hint=f"accept them at {page}",
        ) from error
    except RepositoryNotFoundError as error:
        had = "" if token else "; one that is private needs `HF_TOKEN`"
        raise SourceError(f"The hub has no `{source.repo}` that it would show", hint=f"check the id{had}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in {429, 500, 502, 503, 504}:
            wait = wait_asked(error.response.headers.get("retry-after"))
            raise TransientError(f"The hub cannot answer now (HTTP {status})", wait_seconds=wait) from error
        if status == 404:
            raise SourceError(f"The hub has no `{source.repo}`", hint="check the id") from error
        if status in {401, 403}:
            raise SourceError(f"The hub does not take the token for `{source.repo}` (HTTP {status})") from error
        raise SourceError(f"The hub refuses `{source.repo}` (HTTP {status})") from error
    except ValueError as error:
        raise NetworkError(f"`{page}` does not answer as the hub does", hint="check `HF_ENDPOINT`") from error


@contextmanager
def _online() -> Iterator[None]:
    """Let the hub's library ask for the length of the block: it is told otherwise for everything that nobody asked for.

    It decides by a constant of its own, so for so long another thread might ask too.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _licence(info: "ModelInfo", page: str) -> tuple[str | None, str | None]:
    """Its name and where its text is. `other` is no name: then the card has one of its own."""
    card: Any = info.card_data
    if card is None:
        return None, None
    name, own, link = card.get("license"), card.get("license_name"), card.get("license_link")
    if isinstance(name, list):
        name = ", ".join(str(one) for one in name)
    chosen = own if name in {None, "other"} and own else name
    if isinstance(link, str) and not link.startswith("https://"):
        link = f"{page}/blob/main/{link}"
    return (str(chosen) if chosen else None), (addresses.told(link) if isinstance(link, str) else None)


def _base_model(info: "ModelInfo") -> str | None:
    base = info.card_data.get("base_model") if info.card_data is not None else None
    return ", ".join(str(one) for one in base) if isinstance(base, list) else str(base) if base else None


def _instance_prompt(info: "ModelInfo") -> tuple[str, ...]:
    """The words that an adapter was trained with, as its card has them."""
    words = info.card_data.get("instance_prompt") if info.card_data is not None else None
    return (words.strip(),) if isinstance(words, str) and words.strip() else ()
