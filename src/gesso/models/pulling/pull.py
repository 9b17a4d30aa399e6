"""Fetching what was planned: checked for room, resumed, verified, and only then given its name."""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gesso.core.clock import utc_now
from gesso.core.errors import ModelError, ResourceError, SourceError, StorageError, UsageError
from gesso.core.files import reporting_storage, write_atomically
from gesso.core.settings import Settings
from gesso.core.units import gib
from gesso.models.headers.read import read_weights_header
from gesso.models.pulling.civitai import CivitaiAsking, plan_from_civitai
from gesso.models.pulling.hub import HubAsking, plan_from_hub
from gesso.models.pulling.link import LinkAsking, plan_from_link
from gesso.models.pulling.origin import FOLDER_FILE, Origin, OriginFile, origin_of, origin_path
from gesso.models.pulling.patience import Patience
from gesso.models.pulling.plan import PullPlan, RemoteFile
from gesso.models.pulling.remote import Remote
from gesso.models.pulling.sources import CivitaiSource, Endpoints, HubSource, LinkSource, endpoints_of, source_of
from gesso.models.pulling.tokens import tokens_for
from gesso.models.pulling.transfer import Transfer

_STAGING = ".pull-"
"""What is on its way lies in a hidden folder of the model folder: on the same disk, where no model is looked for."""
_SPARE_BYTES = 64 * 2**20
"""Left free on the disk, for everybody else."""

Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """A model that is here now."""

    path: Path
    plan: PullPlan
    already: bool
    """It was here before, and nothing was fetched."""


class Puller:
    """Plans and fetches. One at a time; a context manager that lets its connections go.

    Nothing is asked of the net but by `plan` and `fetch`.

    Args:
        into: the folder for models; the first of the settings if not given.
        patience: how failures are waited for.
    """

    def __init__(self, settings: Settings, *, into: Path | None = None, patience: Patience | None = None) -> None:
        self._settings = settings
        self.endpoints: Endpoints = endpoints_of(settings)
        self.into = _folder(settings, into)
        self._patience = patience or Patience()
        self._remote = Remote(tokens_for(self.endpoints))

    def plan(
        self, what: str, *, revision: str | None = None, variant: str | None = None, sha256: str | None = None
    ) -> PullPlan:
        """What would be fetched for `what`: a known name, a hub id, a link, or an id of CivitAI.

        Args:
            revision: of the hub: a branch, a tag or a commit.
            variant: of the hub: `fp16`, for weights of that name.
            sha256: what a single file must have.

        Raises:
            UnknownNameError, UsageError: it is nothing that could be fetched, or an argument does not fit it.
            SourceError: it is not there, or not for us.
            NetworkError: nobody could be asked.
        """
        source = source_of(what, self.endpoints)
        if not isinstance(source, HubSource):
            for option, value in (("--revision", revision), ("--variant", variant)):
                if value is not None:
                    raise UsageError(f"`{option}` is for models of the hub, and `{what.partition('?')[0]}` is none")
        match source:
            case HubSource():
                if revision is not None:
                    source = replace(source, revision=revision)
                plan = plan_from_hub(
                    HubAsking(
                        source=source,
                        variant=variant,
                        safety_checker=self._settings.safety_checker,
                        endpoints=self.endpoints,
                        remote=self._remote,
                        patience=self._patience,
                    )
                )
            case CivitaiSource():
                plan = plan_from_civitai(
                    CivitaiAsking(source=source, endpoints=self.endpoints, remote=self._remote, patience=self._patience)
                )
            case LinkSource():
                plan = plan_from_link(
                    LinkAsking(source=source, endpoints=self.endpoints, remote=self._remote, patience=self._patience)
                )
        return plan if sha256 is None else _expecting(plan, sha256)

    def here(self, plan: PullPlan) -> Path | None:
        """Where the very same is already; `None` if there is nothing of that name.

        Raises:
            SourceError: something else has that name.
        """
        path = self.into / plan.name
        if not os.path.lexists(path):
            return None
        known = origin_of(path)
        if known is not None and (known.hub_id or known.url) == (plan.origin.hub_id or plan.origin.url):
            same = (known.revision, known.variant) == (plan.origin.revision, plan.origin.variant)
            expected = {file.sha256.lower() for file in plan.files if file.sha256}
            if same and expected <= {file.sha256 for file in known.files}:
                return path
        raise SourceError(
            f"`{path}` is there already, and is not the same",
            hint="choose another folder with `--into`, or move it away",
        )

    def fetch(self, plan: PullPlan, progress: Progress = lambda _: None) -> Pulled:
        """Fetch a plan, or what is left of it from the last time.

        Args:
            progress: told of bytes as they come, those that were kept from the last time first.

        Raises:
            SourceError, NetworkError: see `Transfer.run`. What came is kept for the next time.
            ResourceError: no room; no right; or somebody is fetching the same at this moment.
        """
        from filelock import FileLock, Timeout

        if (path := self.here(plan)) is not None:
            return Pulled(path=path, plan=plan, already=True)
        staging = self.into / f"{_STAGING}{hashlib.sha256(plan.name.encode()).hexdigest()[:16]}"
        with reporting_storage(staging, option="--into"):
            staging.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(staging / "lock", timeout=0):
                path = self.here(plan) or self._fetch(plan, staging, progress)
                shutil.rmtree(staging, ignore_errors=True)  # with its lock: who waits for that finds the model here
        except Timeout as error:
            raise ResourceError(
                f"`{plan.name}` is being fetched by another command",
                hint="wait for it; should it fail, this command goes on from where it stopped",
            ) from error
        return Pulled(path=path, plan=plan, already=False)

    def close(self) -> None:
        self._remote.close()

    def __enter__(self) -> "Puller":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fetch(self, plan: PullPlan, staging: Path, progress: Progress) -> Path:
        _keep_only_the_same(staging, plan)
        self._check_room(plan, staging)
        arrived = [self._arrived(file, staging, progress) for file in plan.files]
        origin = plan.origin.model_copy(update={"files": tuple(arrived), "pulled": utc_now()})
        return _named(plan, staging, self.into / plan.name, origin)

    def _arrived(self, file: RemoteFile, staging: Path, progress: Progress) -> OriginFile:
        target = staging / "files" / file.path
        verified = staging / "verified" / hashlib.sha256(file.path.encode()).hexdigest()
        if target.is_file() and verified.is_file():  # by the same command, before it was interrupted
            progress(target.stat().st_size)
            return OriginFile(path=file.path, bytes=target.stat().st_size, sha256=verified.read_text("ascii"))
        sha256 = Transfer(file=file, target=target, remote=self._remote, advance=progress).run(self._patience)
        if not (file.sha256 or file.git_sha1):
            _check_weights(target)
        write_atomically(verified, sha256.encode())
        return OriginFile(path=file.path, bytes=target.stat().st_size, sha256=sha256)

    def _check_room(self, plan: PullPlan, staging: Path) -> None:
        have = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
        needed = max(0, plan.size_bytes - have)
        free = shutil.disk_usage(staging).free
        if needed + _SPARE_BYTES > free:
            raise StorageError(
                f"`{plan.name}` needs {gib(needed)} and {gib(_SPARE_BYTES)} to spare, "
                f"free at `{self.into}`: {gib(free)}",
                hint="free some space, or choose another disk with `--into`",
            )


def _folder(settings: Settings, into: Path | None) -> Path:
    if into is not None:
        return Path(os.path.expanduser(into))
    if not settings.model_folders:
        raise UsageError("There is no model folder", hint="name one with `--into` or the setting `model_folders`")
    return Path(os.path.expanduser(settings.model_folders[0]))


def _expecting(plan: PullPlan, sha256: str) -> PullPlan:
    digest = sha256.strip().lower().removeprefix("sha256:")
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise UsageError(f"`--sha256` is 64 hexadecimal digits, found `{sha256}`")
    if plan.folder:
        raise UsageError("`--sha256` is for a single file, and this is a folder of them")
    declared = plan.files[0].sha256
    if declared is not None and declared.lower() != digest:
        raise SourceError(f"`{plan.name}` has another sha256 by what its source says: {declared.lower()}")
    return replace(plan, files=(replace(plan.files[0], sha256=digest),))


def _keep_only_the_same(staging: Path, plan: PullPlan) -> None:
    """Remove what came of something else with the same name: another commit, another version."""
    mark = staging / "plan"
    facts = [plan.origin.reference, plan.origin.revision, plan.origin.variant]
    facts += [[file.path, file.size_bytes, file.sha256, file.git_sha1] for file in plan.files]
    fingerprint = hashlib.sha256(repr(facts).encode()).hexdigest().encode()
    if mark.is_file() and mark.read_bytes() == fingerprint:
        return
    with reporting_storage(staging, option="--into"):
        if (staging / "files").exists():
            shutil.rmtree(staging / "files")
    write_atomically(mark, fingerprint)


def _check_weights(path: Path) -> None:
    """Look at a file that nobody has vouched for: a login page may have come in its stead."""
    try:
        read_weights_header(path)
    except ModelError:
        path.unlink(missing_ok=True)
        raise


def _named(plan: PullPlan, staging: Path, target: Path, origin: Origin) -> Path:
    """Give what is complete its name, in one step. Its origin stands there first."""
    files, document = staging / "files", origin.model_dump_json(indent=2).encode()
    with reporting_storage(target, option="--into"):
        target.parent.mkdir(parents=True, exist_ok=True)
    if plan.folder:
        write_atomically(files / FOLDER_FILE, document)
        with reporting_storage(target, option="--into"):
            os.rename(files, target)
    else:
        beside = origin_path(target, folder=False)
        write_atomically(beside, document)
        with reporting_storage(target, option="--into"):
            os.rename(files / plan.files[0].path, target)
    return target
