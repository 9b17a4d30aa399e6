"""Fetching models: the real client and the real `huggingface_hub` against servers on loopback that misbehave."""

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from disks import full_disk, small_disk
from gesso.core.errors import (
    GessoError,
    ModelError,
    NetworkError,
    NotHereError,
    ResourceError,
    SourceError,
    StorageError,
    UnknownNameError,
    UsageError,
)
from gesso.core.settings import Settings
from gesso.models.pulling.origin import Origin, origin_of
from gesso.models.pulling.patience import Patience
from gesso.models.pulling.pull import Puller
from gesso.models.store import ModelStore
from model_sites import COMMIT, Cut, Hold, ModelSite, Status

TOKEN = "hf_secret0123456789"


def weights(values: int = 60_000, seed: int = 0) -> bytes:
    """A file of safetensors."""
    return save({"w": np.random.default_rng(seed).standard_normal(values).astype(np.float32)})


UNET, VAE = weights(seed=1), weights(30_000, seed=2)
PIPELINE: Mapping[str, bytes] = {
    "README.md": b"---\nlicense: mit\n---\n",
    "LICENSE": b"do as you like",
    "model_index.json": json.dumps(
        {
            "_class_name": "SomePipeline",
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "scheduler": ["diffusers", "DDIMScheduler"],
            "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
            "feature_extractor": [None, None],
        }
    ).encode(),
    "scheduler/scheduler_config.json": b"{}",
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": UNET,
    "unet/diffusion_pytorch_model.fp16.safetensors": UNET[: len(UNET) // 2],
    "unet/diffusion_pytorch_model.bin": b"a pickle",
    "unet/model.onnx": b"onnx",
    "vae/config.json": b"{}",
    "vae/diffusion_pytorch_model.safetensors": VAE,
    "safety_checker/config.json": b"{}",
    "safety_checker/model.safetensors": b"unused",
    "whole-checkpoint.safetensors": b"the same once more",
    "picture.png": b"png",
}
WANTED = {
    *("README.md", "LICENSE", "model_index.json", "scheduler/scheduler_config.json", "unet/config.json"),
    *("unet/diffusion_pytorch_model.safetensors", "vae/config.json", "vae/diffusion_pytorch_model.safetensors"),
}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelSite]:
    """The hub and CivitAI in one."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "CIVITAI_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with ModelSite() as opened:
        monkeypatch.setenv("HF_ENDPOINT", opened.url)
        yield opened


@pytest.fixture
def cdn() -> Iterator[ModelSite]:
    """Another host, where large files are."""
    with ModelSite() as opened:
        yield opened


class Waiting(list[float]):
    """Seconds that were waited, without waiting."""


@pytest.fixture
def waited() -> Waiting:
    return Waiting()


@pytest.fixture
def puller(site: ModelSite, waited: Waiting) -> Iterator[Puller]:
    with new_puller(site, waited) as opened:
        yield opened


def new_puller(site: ModelSite, waited: Waiting | None = None, *, into: Path = Path("models")) -> Puller:
    settings = Settings(model_folders=(Path("models"),), civitai_endpoint=site.url)
    return Puller(settings, into=into, patience=Patience(wait=(waited if waited is not None else Waiting()).append))


def pull(puller: Puller, what: str, **arguments: Any) -> Path:
    return puller.fetch(puller.plan(what, **arguments)).path


def here(folder: Path | str = "models") -> set[str]:
    """Every file in `folder`, hidden ones too."""
    root = Path(folder)
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def visible_files() -> set[str]:
    """What somebody could take for a model."""
    return {path for path in here() if not path.startswith(".pull-")}


# --- the hub


def test_of_a_pipeline_the_files_that_it_needs_come_each_once(site: ModelSite, puller: Puller) -> None:
    site.add_hub_repo("org/model", PIPELINE)
    plan = puller.plan("org/model")
    assert {file.path for file in plan.files} == WANTED
    assert plan.size_bytes == sum(len(PIPELINE[path]) for path in WANTED)
    assert any("safety_checker" in note for note in plan.notes)
    path = puller.fetch(plan).path
    assert path == Path("models/org/model")
    assert here(path) == WANTED | {"origin.json"}
    assert all((path / name).read_bytes() == PIPELINE[name] for name in WANTED)
    assert here() == {f"org/model/{name}" for name in WANTED | {"origin.json"}}, "nothing else is left"


def test_the_origin_tells_where_it_is_from_and_under_which_licence(site: ModelSite, puller: Puller) -> None:
    card = {"license": "other", "license_name": "some-licence", "license_link": "LICENSE", "base_model": "org/base"}
    site.add_hub_repo("org/model", PIPELINE, card=card, gated=False)
    origin = origin_of(pull(puller, "org/model"))
    assert origin is not None
    assert (origin.hub_id, origin.revision, origin.licence) == ("org/model", COMMIT, "some-licence")
    assert origin.licence_url == f"{site.url}/org/model/blob/main/LICENSE"
    assert origin.base_model == "org/base"
    digests = {file.path: file.sha256 for file in origin.files}
    assert digests == {path: hashlib.sha256(PIPELINE[path]).hexdigest() for path in WANTED}


def test_a_variant_is_taken_where_there_is_one_and_said_where_there_is_none(site: ModelSite, puller: Puller) -> None:
    site.add_hub_repo("org/model", PIPELINE)
    plan = puller.plan("org/model", variant="fp16")
    unet = [file.path for file in plan.files if file.path.startswith("unet/diff")]
    assert unet == ["unet/diffusion_pytorch_model.fp16.safetensors"]
    assert "vae/diffusion_pytorch_model.safetensors" in {file.path for file in plan.files}
    assert any("`vae`" in note for note in plan.notes)
    with pytest.raises(SourceError, match="variant `int3`") as caught:
        puller.plan("org/model", variant="int3")
    assert "fp16" in (caught.value.hint or "")


def test_a_known_name_is_fetched_and_then_found_by_it_and_by_its_hub_id(site: ModelSite, puller: Puller) -> None:
    site.add_hub_repo("stabilityai/sdxl-turbo", PIPELINE)
    path = pull(puller, "SDXL-Turbo")
    assert path == Path("models/stabilityai/sdxl-turbo")
    for part in ("unet", "vae"):
        (path / part / "config.json").write_text('{"block_out_channels": [1, 2]}')
    store = ModelStore(Settings(model_folders=(Path("models"),)), hub_cache=Path("none"))
    assert store.find("sdxl-turbo").path == store.find("stabilityai/sdxl-turbo").path == path


def test_the_token_goes_to_the_hub_and_not_where_the_hub_redirects_to(
    site: ModelSite, cdn: ModelSite, waited: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    site.add_hub_repo("org/gated", PIPELINE, cdn=cdn, gated="auto")
    site.protected["/org/gated/resolve/"] = TOKEN
    with new_puller(site, waited) as puller:
        path = pull(puller, "org/gated")
    assert {one.token for one in site.asked} == {f"Bearer {TOKEN}"}
    assert cdn.asked
    assert {one.token for one in cdn.asked} == {None}
    assert not any(TOKEN.encode() in (path / name).read_bytes() for name in here(path))


def test_a_gated_repository_without_a_token_says_where_its_terms_are(site: ModelSite, puller: Puller) -> None:
    site.add_hub_repo("org/gated", PIPELINE, gated="manual")
    with pytest.raises(SourceError, match="`org/gated` is gated") as caught:
        puller.plan("org/gated")
    assert f"{site.url}/org/gated" in (caught.value.hint or "")
    assert "HF_TOKEN" in (caught.value.hint or "")
    assert here() == set()


def test_a_token_that_opens_nothing_is_told_and_not_shown(site: ModelSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    site.add_hub_repo("org/gated", PIPELINE, gated="auto")
    site.protected["/org/gated/resolve/"] = "another"
    with (
        new_puller(site) as puller,
        pytest.raises(SourceError, match="the token that it was given does not open it") as caught,
    ):
        puller.plan("org/gated")
    assert TOKEN not in f"{caught.value.message} {caught.value.hint}"
    assert visible_files() == set()


def test_what_the_hub_does_not_have_is_told(site: ModelSite, puller: Puller) -> None:
    with pytest.raises(SourceError, match="The hub has no `org/nothing`"):
        puller.plan("org/nothing")
    site.add_hub_repo("org/model", PIPELINE)
    site.fail("/api/models/org/model/revision/v9", Status(404, {"X-Error-Code": "RevisionNotFound"}))
    with pytest.raises(SourceError, match="no revision `v9`"):
        puller.plan("org/model", revision="v9")


def test_a_busy_hub_is_waited_for_as_long_as_it_asks(site: ModelSite, puller: Puller, waited: Waiting) -> None:
    site.add_hub_repo("org/model", PIPELINE)
    site.fail("/api/models/", Status(429, {"Retry-After": "7"}), Status(503))
    site.fail("/org/model/resolve/", Status(429, {"Retry-After": "3"}), Status(502), Status(502))
    pull(puller, "org/model")
    assert waited == [7, 2, 3, 2, 4]


def test_a_server_that_asks_for_too_long_a_wait_is_left_alone(site: ModelSite, puller: Puller, waited: Waiting) -> None:
    site.add_hub_repo("org/model", PIPELINE)
    site.fail("/api/models/", Status(429, {"Retry-After": "86400"}))
    with pytest.raises(NetworkError) as caught:
        puller.plan("org/model")
    assert "86400 s" in (caught.value.hint or "")
    assert waited == []


def test_a_server_that_always_fails_is_given_up(site: ModelSite, puller: Puller, waited: Waiting) -> None:
    site.add_hub_repo("org/model", PIPELINE)
    site.fail("/api/models/", *[Status(503)] * 9)
    with pytest.raises(NetworkError, match="5 times in a row"):
        puller.plan("org/model")
    assert waited == [1, 2, 4, 8]


def test_nobody_listening_is_told(site: ModelSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with new_puller(site) as puller, pytest.raises(NetworkError, match="cannot be reached"):
        puller.plan("org/model")


def test_a_repository_of_single_files_says_which_there_are(site: ModelSite, puller: Puller) -> None:
    site.add_hub_repo("org/loras", {"one.safetensors": UNET, "two.safetensors": VAE, "README.md": b""})
    with pytest.raises(SourceError, match="is no pipeline") as caught:
        puller.plan("org/loras")
    assert "one.safetensors, two.safetensors" in (caught.value.hint or "")
    assert pull(puller, "org/loras/two.safetensors").read_bytes() == VAE
    assert pull(puller, f"{site.url}/org/loras/blob/main/one.safetensors").read_bytes() == UNET


@pytest.mark.rough(
    "downloads",
    tried="a repository whose index calls a part of the model `..`, with files of that name",
    happens="nothing is fetched",
    told="exit 3: “… names a file `…`, which lies nowhere in it”",
)
@pytest.mark.parametrize("path", ["../evil.json", "./evil.json", "unet/ev:il.json"])
def test_a_path_that_leads_out_of_the_repository_is_refused(site: ModelSite, puller: Puller, path: str) -> None:
    files = {**PIPELINE, path: b"{}"}
    index = json.loads(PIPELINE["model_index.json"]) | {path.rpartition("/")[0]: ["diffusers", "X"]}
    files["model_index.json"] = json.dumps(index).encode()
    site.add_hub_repo("org/model", files)
    with pytest.raises(SourceError, match="lies nowhere in it"):
        puller.plan("org/model")
    assert not any(Path().rglob("*evil*"))


# --- on the way


@pytest.mark.rough(
    "downloads",
    tried="the connection is cut in the middle of a file, several times",
    happens="each time the rest alone is asked for, after a wait; the file is whole",
    told="nothing: it works",
)
def test_after_a_cut_the_rest_alone_is_asked_for(
    site: ModelSite, cdn: ModelSite, puller: Puller, waited: Waiting
) -> None:
    site.add_hub_repo("org/model", PIPELINE, cdn=cdn)
    name = "unet/diffusion_pytorch_model.safetensors"
    place = f"/cdn/org/model/{COMMIT}/{name}"
    cdn.fail(place, Cut(after=100_000), Cut(after=50_000))
    path = pull(puller, "org/model")
    assert (path / name).read_bytes() == UNET
    ranges = [one.headers.get("range") for one in cdn.asked_for(place)]
    assert ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert all(one.headers.get("if-range") for one in cdn.asked_for(place)[1:])
    assert waited == [1, 1], "some bytes came, so counting began anew"


def test_a_server_without_ranges_sends_it_all_again(site: ModelSite, puller: Puller) -> None:
    url = site.add_file("/w.safetensors", UNET, ranges=False)
    site.fail("/w.", Cut(after=len(UNET)), Cut(after=100_000))
    assert pull(puller, url).read_bytes() == UNET


@pytest.mark.rough(
    "downloads",
    tried="a file is replaced on the server while half of it has come",
    happens="it is fetched anew from its beginning, never mixed",
    told="nothing: it works",
)
def test_a_file_that_changed_meanwhile_is_begun_anew(site: ModelSite, puller: Puller) -> None:
    url = site.add_file("/w.safetensors", UNET, etag='"old"')
    site.fail("/w.", Cut(after=1), *[Cut(after=100_000)] * 2, *[Status(503)] * 9)
    plan = puller.plan(url)
    with pytest.raises(NetworkError):
        puller.fetch(plan)
    assert visible_files() == set()
    changed = weights(seed=9)
    site._faults.clear()
    site.add_file("/w.safetensors", changed, etag='"new"')
    assert puller.fetch(plan).path.read_bytes() == changed
    last = site.asked_for("/w.")[-1]
    assert (last.headers["range"], last.headers["if-range"]) == ("bytes=200000-", '"old"')


@pytest.mark.rough(
    "downloads",
    tried="a file whose sha256 is not the one that its source declares",
    happens="what came is removed",
    told="exit 4: “`…` is not what its source says: its sha256 is …”",
)
def test_a_wrong_hash_leaves_nothing(site: ModelSite, puller: Puller) -> None:
    name = "vae/diffusion_pytorch_model.safetensors"
    site.add_hub_repo("org/model", PIPELINE, declared={name: "0" * 64})
    with pytest.raises(NetworkError, match=r"is not what its source says: its sha256 is .*0000… was promised"):
        pull(puller, "org/model")
    assert visible_files() == set()
    assert not any("vae/diffusion" in path for path in here())


def test_a_small_file_that_is_not_the_one_in_git_is_refused(site: ModelSite, puller: Puller) -> None:
    site.add_hub_repo("org/model", PIPELINE)
    site.add_file(f"/org/model/resolve/{COMMIT}/vae/config.json", b"[]")
    with pytest.raises(NetworkError, match="its git id is"):
        pull(puller, "org/model")
    assert visible_files() == set()


def test_what_was_kept_and_is_wrong_is_fetched_once_more(site: ModelSite, puller: Puller) -> None:
    site.add_hub_repo("org/lora", {"a.safetensors": UNET})
    plan = puller.plan("org/lora")
    site.fail("/org/lora/resolve/", Cut(after=100_000), *[Status(503)] * 5)
    with pytest.raises(NetworkError):
        puller.fetch(plan)
    [part] = Path("models").rglob("*.part")
    part.write_bytes(b"\0" * part.stat().st_size)  # a disk that forgot
    assert puller.fetch(plan).path.read_bytes() == UNET


@pytest.mark.parametrize("length", [len(UNET) - 1, len(UNET) + 1])
def test_a_file_of_another_size_than_promised_is_refused(site: ModelSite, puller: Puller, length: int) -> None:
    site.add_hub_repo("org/lora", {"a.safetensors": UNET})
    plan = puller.plan("org/lora")
    site.add_file(f"/org/lora/resolve/{COMMIT}/a.safetensors", (UNET + b"x")[:length])
    with pytest.raises(SourceError, match=f"has {length:,} bytes, and {len(UNET):,} were promised"):
        puller.fetch(plan)
    assert visible_files() == set()


def test_another_commit_does_not_go_on_with_the_files_of_the_one_before(site: ModelSite, puller: Puller) -> None:
    site.add_hub_repo("org/lora", {"a.safetensors": UNET})
    site.fail("/org/lora/resolve/", Cut(after=100_000), *[Status(503)] * 5)
    with pytest.raises(NetworkError):
        pull(puller, "org/lora")
    site._faults.clear()
    site.add_hub_repo("org/lora", {"a.safetensors": VAE}, commit="b" * 40)
    assert pull(puller, "org/lora").read_bytes() == VAE
    assert "range" not in site.asked[-1].headers


# --- disks


@pytest.mark.rough(
    "downloads",
    tried="a model that does not fit on the disk",
    happens="nothing is fetched",
    told="exit 4: “`…` needs …, free at `…`: …”",
)
def test_room_is_looked_for_before(site: ModelSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add_hub_repo("org/model", PIPELINE)
    with small_disk(tmp_path / "disk", kib=200) as mounted, new_puller(site, into=tmp_path / "disk") as puller:
        if not mounted:
            free = shutil.disk_usage(tmp_path)._replace(free=200 * 1024)
            monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
        before = len(site.asked)
        plan = puller.plan("org/model")
        with pytest.raises(StorageError, match=r"`org/model` needs .* free at"):
            puller.fetch(plan)
        assert len(site.asked) - before == 2, "the repository and its index, and no file"


@pytest.mark.rough(
    "downloads",
    tried="the disk gets full in the middle of a download",
    happens="nothing has the name of the model",
    told="exit 4: “No room left on the disk …”",
)
def test_a_disk_that_gets_full_on_the_way_leaves_no_model(
    site: ModelSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add_hub_repo("org/lora", {"a.safetensors": UNET})
    usage = shutil.disk_usage(tmp_path)._replace(free=2**40)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)  # somebody else takes the room meanwhile
    folder = tmp_path / "disk"
    with full_disk(folder), new_puller(site, into=folder) as puller, pytest.raises(StorageError, match="No room left"):
        puller.fetch(puller.plan("org/lora"))
    assert not (folder / "a.safetensors").exists()


def test_a_folder_that_may_not_be_written_is_told(site: ModelSite, tmp_path: Path) -> None:
    site.add_hub_repo("org/lora", {"a.safetensors": UNET})
    (tmp_path / "file").write_text("")
    with new_puller(site, into=tmp_path / "file") as puller, pytest.raises(GessoError) as caught:
        puller.fetch(puller.plan("org/lora"))
    assert "--into" in (caught.value.hint or "")


# --- twice


@pytest.mark.rough(
    "downloads",
    tried="the same model is fetched twice at the same time",
    happens="the second is refused, the first is whole",
    told="exit 4: “`…` is being fetched by another command”",
)
def test_two_at_once_do_not_write_into_each_other(site: ModelSite) -> None:
    site.add_hub_repo("org/lora", {"a.safetensors": UNET})
    hold = Hold(after=1000)
    paths: list[Path] = []

    def first() -> None:
        with new_puller(site) as puller:
            paths.append(pull(puller, "org/lora"))

    with new_puller(site) as puller:
        plan = puller.plan("org/lora")
        site.fail("/org/lora/resolve/", hold)
        thread = threading.Thread(target=first)
        thread.start()
        try:
            assert hold.reached.wait(60)
            with pytest.raises(ResourceError, match="is being fetched by another command"):
                puller.fetch(plan)
        finally:
            hold.release.set()
            thread.join(60)
        assert paths[0].read_bytes() == UNET
        assert puller.fetch(plan).already


def test_what_is_here_is_not_fetched_again(site: ModelSite, puller: Puller) -> None:
    site.add_hub_repo("org/model", PIPELINE)
    first = puller.fetch(puller.plan("org/model"))
    asked = len(site.asked)
    again = puller.fetch(puller.plan("org/model"))
    assert (first.already, again.already) == (False, True)
    assert len(site.asked) - asked == 2


def test_something_else_of_that_name_is_left_alone(site: ModelSite, puller: Puller) -> None:
    site.add_hub_repo("org/lora", {"a.safetensors": UNET})
    Path("models").mkdir()
    Path("models/a.safetensors").write_text("mine")
    with pytest.raises(SourceError, match="is there already, and is not the same"):
        pull(puller, "org/lora")
    assert Path("models/a.safetensors").read_text() == "mine"


# --- CivitAI


@pytest.mark.parametrize(
    "what",
    ["civitai:4384", "4384", "civitai:4384@128713", "urn:air:sdxl:lora:civitai:4384@128713", "{url}/models/4384/ohwx",
     "{url}/models/4384?modelVersionId=128713", "{url}/api/download/models/128713"],
)  # fmt: skip
def test_a_model_of_civitai_comes_by_its_id_or_link(
    site: ModelSite, cdn: ModelSite, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIVITAI_TOKEN", TOKEN)
    site.add_civitai_model(4384, 128713, "ohwx.safetensors", UNET, cdn=cdn)
    site.protected["/api/download/"] = TOKEN
    with new_puller(site) as puller:
        path = pull(puller, what.format(url=site.url))
    assert path == Path("models/ohwx.safetensors")
    assert path.read_bytes() == UNET
    origin = origin_of(path)
    assert origin is not None
    assert origin.trained_words == ("ohwx", "a painting")
    assert (origin.base_model, origin.revision, origin.title) == ("SDXL 1.0", "128713", "Ohwx, v1")
    assert origin.licence == "CivitAI: commercial use: Image; credit its maker; derivatives under the same terms"
    assert {one.token for one in cdn.asked} == {None}
    assert TOKEN not in Path("models/ohwx.safetensors.origin.json").read_text()
    store = ModelStore(Settings(model_folders=(Path("models"),), civitai_endpoint=site.url), hub_cache=Path("none"))
    facts = store.find_file("ohwx").facts
    assert (facts.license, facts.trained_words) == (origin.licence, origin.trained_words)
    assert facts.declared_sha256 == hashlib.sha256(UNET).hexdigest()
    with pytest.raises(ModelError, match=r"`models/ohwx.safetensors`, and not a model"):  # found
        store.find(what.format(url=site.url))


def test_who_must_log_in_is_told_so(site: ModelSite, puller: Puller) -> None:
    site.add_civitai_model(1, 2, "a.safetensors", UNET)
    site.add_redirect("/api/download/models/2", "/login?returnUrl=/models/1&reason=download-auth")
    with pytest.raises(SourceError, match="it wants a token") as caught:
        pull(puller, "civitai:1")
    assert "CIVITAI_TOKEN" in (caught.value.hint or "")
    assert visible_files() == set()


@pytest.mark.rough(
    "downloads",
    tried="CivitAI calls a file `../../.bashrc\\n.safetensors`",
    happens="its last part, without what a file system or terminal could take for something else, is the name",
    told="the path that it got",
)
def test_a_name_from_a_server_is_made_harmless(site: ModelSite, puller: Puller) -> None:
    site.add_civitai_model(1, 2, "../../.bash\x1b[31mrc\n.safetensors", UNET)
    path = pull(puller, "civitai:1")
    assert path.parent == Path("models")
    assert path.name == "bash_[31mrc_.safetensors"


def test_what_was_found_dangerous_is_not_fetched(site: ModelSite, puller: Puller) -> None:
    site.add_civitai_model(1, 2, "a.safetensors", UNET)
    version = json.loads(site.resources["/api/v1/models/1"].body)
    version["modelVersions"][0]["files"][0]["virusScanResult"] = "Danger"
    site.add_json("/api/v1/models/1", version)
    with pytest.raises(SourceError, match="dangerous"):
        puller.plan("civitai:1")


def test_a_version_that_is_not_there_is_told_with_those_that_are(site: ModelSite, puller: Puller) -> None:
    site.add_civitai_model(1, 2, "a.safetensors", UNET)
    with pytest.raises(SourceError, match="has no version 3") as caught:
        puller.plan("civitai:1@3")
    assert "2 (v1)" in (caught.value.hint or "")
    with pytest.raises(SourceError, match="There is nothing at"):
        puller.plan("civitai:77")


# --- links


def test_a_link_is_fetched_under_the_name_that_its_server_gives_it(site: ModelSite, puller: Puller) -> None:
    disposition = 'attachment; filename="their name.safetensors"'
    url = site.add_file("/get", UNET, Content_Disposition=disposition)
    path = pull(puller, f"{url}?expires=1&signature=abcdef")
    assert path.name == "their name.safetensors"
    origin = path.with_name(f"{path.name}.origin.json").read_text()
    assert "abcdef" not in origin
    assert Origin.model_validate_json(origin).url == url


def test_a_page_in_the_stead_of_weights_is_refused(site: ModelSite, puller: Puller) -> None:
    page = b"<!doctype html><title>Log in</title>" * 100
    told = site.add_file("/a.safetensors", page, Content_Type="text/html; charset=utf-8")
    with pytest.raises(SourceError, match="is a web page"):
        puller.plan(told)
    silent = site.add_file("/b.safetensors", page, Content_Type="application/octet-stream")
    with pytest.raises(ModelError):
        pull(puller, silent)
    assert visible_files() == set()


def test_a_digest_that_somebody_gives_is_checked(site: ModelSite, puller: Puller) -> None:
    url = site.add_file("/a.safetensors", UNET)
    with pytest.raises(NetworkError, match="is not what its source says"):
        pull(puller, url, sha256="1" * 64)
    assert visible_files() == set()
    assert pull(puller, url, sha256=hashlib.sha256(UNET).hexdigest().upper()).is_file()
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        puller.plan(url, sha256="abc")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("http://example.invalid/a.safetensors", "only https is"),
        ("ftp://example.invalid/a.safetensors", "only https is"),
        ("https://me:pw@example.invalid/a.safetensors", "token or password"),
        ("https://civitai.com/api/download/models/1?token=abc", "token or password"),
    ],
)
def test_links_that_nobody_should_follow_are_refused_without_showing_secrets(
    puller: Puller, what: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        puller.plan(what)
    assert not {"pw", "abc"} & set(f"{caught.value.message} {caught.value.hint}".replace("`", " ").split())


def test_a_redirect_to_where_others_can_listen_is_not_followed(site: ModelSite, puller: Puller) -> None:
    site.add_redirect("/a.safetensors", "http://example.invalid/a.safetensors")
    with pytest.raises(SourceError, match=r"redirects to `http://example\.invalid/a\.safetensors`, which is not https"):
        puller.plan(f"{site.url}/a.safetensors")


def test_a_circle_of_redirects_ends(site: ModelSite, puller: Puller) -> None:
    site.add_redirect("/a.safetensors", f"{site.url}/a.safetensors")
    with pytest.raises(SourceError, match="from one address to the next"):
        puller.plan(f"{site.url}/a.safetensors")


def test_what_is_no_source_gets_the_nearest_names(puller: Puller) -> None:
    with pytest.raises(UnknownNameError, match="sdxl-bse") as caught:
        puller.plan("sdxl-bse")
    assert "sdxl-base" in (caught.value.hint or "")


def test_options_of_the_hub_do_not_fit_a_link(puller: Puller) -> None:
    with pytest.raises(UsageError, match="`--variant` is for models of the hub"):
        puller.plan("civitai:1", variant="fp16")


# --- the store


@pytest.mark.parametrize("what", ["sdxl-base", "org/model", "civitai:12", "https://example.invalid/a.safetensors"])
def test_what_is_not_here_is_told_with_the_command_that_fetches_it(what: str) -> None:
    store = ModelStore(Settings(model_folders=(Path("models"),)), hub_cache=Path("none"))
    with pytest.raises(NotHereError) as caught:
        store.find(what)
    assert f"`gesso models pull {what}` fetches it" in (caught.value.hint or "")
    assert caught.value.what == what


def test_a_name_that_is_nearly_one_of_a_base_says_so() -> None:
    store = ModelStore(Settings(model_folders=(Path("models"),)), hub_cache=Path("none"))
    with pytest.raises(UnknownNameError) as caught:
        store.find("sdxl-bse")
    assert "`gesso models pull` could fetch sdxl-base" in (caught.value.hint or "")


# --- tokens


def test_a_token_in_the_keyring_is_used_and_sent_to_its_own_site_alone(site: ModelSite, cdn: ModelSite) -> None:
    keyring: Any = pytest.importorskip("keyring", reason="the extra gesso[keyring] is not here")
    from keyring.backend import KeyringBackend

    class Memory(KeyringBackend):
        priority = 1  # pyright: ignore[reportAssignmentType]

        def get_password(self, service: str, username: str) -> str | None:
            return TOKEN if (service, username) == ("gesso", "CIVITAI_TOKEN") else None

        def set_password(self, service: str, username: str, password: str) -> None:
            raise NotImplementedError

        def delete_password(self, service: str, username: str) -> None:
            raise NotImplementedError

    before = keyring.get_keyring()
    keyring.set_keyring(Memory())
    try:
        site.add_civitai_model(1, 2, "a.safetensors", UNET, cdn=cdn)
        with new_puller(site) as puller:
            pull(puller, "civitai:1")
    finally:
        with suppress(Exception):
            keyring.set_keyring(before)
    assert {one.token for one in site.asked} == {f"Bearer {TOKEN}"}
    assert {one.token for one in cdn.asked} == {None}


def test_endpoints_that_tokens_must_not_be_sent_to_are_refused(
    site: ModelSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example.invalid")
    with pytest.raises(UsageError, match="HF_ENDPOINT"):
        new_puller(site)
    with pytest.raises(ValueError, match="https"):
        Settings(civitai_endpoint="http://civitai.example.invalid")


def test_nothing_is_asked_before_somebody_asks(site: ModelSite) -> None:
    with new_puller(site):
        pass
    assert site.asked == []
    assert os.listdir() == []
