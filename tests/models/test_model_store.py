import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import zoo
from gesso.core.errors import ModelError, UnknownNameError
from gesso.core.settings import Settings
from gesso.models.store import MAX_DEPTH, ModelStore, default_hub_cache


def copy(path: Path) -> Path:
    return Path(shutil.copytree(zoo.saved("sd1"), path))


def cache(folder: Path, repo: str, *, revision: str = "abc123", source: Path | None = None) -> Path:
    """A repository as the hub's own client would leave it in its cache."""
    root = folder / f"models--{repo.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs/main").write_text(revision)
    snapshot = root / "snapshots" / revision
    snapshot.mkdir(parents=True)
    for file in (source or zoo.saved("sd1")).rglob("*"):
        target = snapshot / file.relative_to(source or zoo.saved("sd1"))
        if file.is_dir():
            target.mkdir(exist_ok=True)
        else:
            blob = root / "blobs" / f"{len(list(root.rglob('*')))}"
            blob.parent.mkdir(exist_ok=True)
            shutil.copy(file, blob)
            target.parent.mkdir(exist_ok=True)
            target.symlink_to(blob)
    return snapshot


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    copy(tmp_path / "models/photo")
    copy(tmp_path / "models/artist/anime")
    copy(tmp_path / "more/photo")
    (tmp_path / "models/broken").mkdir()
    (tmp_path / "models/broken/model_index.json").write_text("{")
    cache(tmp_path / "hub", "org/cached-model")
    settings = Settings(model_folders=(tmp_path / "models", tmp_path / "more", tmp_path / "not-there"))
    return ModelStore(settings, {"primer": zoo.saved("sd1", 1)}, hub_cache=tmp_path / "hub")


def test_the_list_shows_what_is_bundled_then_folders_then_the_hub_cache(store: ModelStore) -> None:
    assert [model.name for model in store.list()] == ["primer", "artist/anime", "photo", "org/cached-model"]


def test_a_broken_folder_is_reported_apart_with_its_reason(store: ModelStore, tmp_path: Path) -> None:
    [(name, path, reason)] = store.broken()
    assert name == "broken"
    assert path == tmp_path / "models/broken"
    assert "is not JSON" in reason
    with pytest.raises(ModelError, match="is not JSON"):
        store.find("broken")


def test_the_first_folder_that_has_a_name_keeps_it(store: ModelStore, tmp_path: Path) -> None:
    assert store.find("photo").path == tmp_path / "models/photo"


@pytest.mark.parametrize("name", ["primer", "photo", "artist/anime", "org/cached-model"])
def test_a_listed_name_is_found_under_that_name(store: ModelStore, name: str) -> None:
    assert store.find(name).name == name


def test_a_path_is_a_name_too(store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.find(str(tmp_path / "more/photo")).path == tmp_path / "more/photo"
    monkeypatch.chdir(tmp_path)
    assert store.find("./more/photo").path == Path("more/photo")
    assert store.find("more/photo").name == "photo"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store.find("~/more/photo").path == tmp_path / "more/photo"


def test_a_path_to_nothing_says_so(store: ModelStore) -> None:
    with pytest.raises(ModelError, match="There is no folder"):
        store.find("./nowhere")


def test_an_empty_file_is_no_model(store: ModelStore, tmp_path: Path) -> None:
    path = tmp_path / "models/v1-5.safetensors"
    path.touch()
    with pytest.raises(ModelError, match="is empty"):
        store.find(str(path))


def test_an_unknown_name_gets_the_nearest_and_the_way_to_give_a_folder(store: ModelStore) -> None:
    with pytest.raises(UnknownNameError, match="Unknown model: `Foto`") as caught:
        store.find("Foto")
    assert caught.value.nearest == ["photo"]
    assert "nearest: photo" in (caught.value.hint or "")
    assert "path of a folder" in (caught.value.hint or "")


def test_a_hub_id_that_is_not_here_is_not_fetched(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        pytest.fail("somebody asked the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    with pytest.raises(UnknownNameError) as caught:
        store.find("org/another")
    assert "gesso models pull org/another" in (caught.value.hint or "")


def test_a_hub_id_of_which_only_a_part_is_cached_says_so(store: ModelStore, tmp_path: Path) -> None:
    snapshot = cache(tmp_path / "hub", "org/half")
    (snapshot / "model_index.json").unlink()
    with pytest.raises(UnknownNameError) as caught:
        store.find("org/half")
    assert "no complete copy" in (caught.value.hint or "")


def test_the_cached_revision_is_the_one_that_main_names(tmp_path: Path) -> None:
    cache(tmp_path / "hub", "org/name--with--dashes", revision="new")
    old = tmp_path / "hub/models--org--name--with--dashes/snapshots/old"
    shutil.copytree(zoo.saved("sd1"), old)
    store = ModelStore(Settings(model_folders=()), hub_cache=tmp_path / "hub")
    [model] = store.list()
    assert model.name == "org/name--with--dashes"
    assert model.path.name == "new"


def test_a_model_folder_may_be_a_model_itself(tmp_path: Path) -> None:
    copy(tmp_path / "alone")
    store = ModelStore(Settings(model_folders=(tmp_path / "alone",)), hub_cache=tmp_path / "none")
    assert [model.name for model in store.list()] == ["alone"]


def test_models_are_looked_for_some_folders_deep_and_not_in_hidden_ones(tmp_path: Path) -> None:
    deepest = Path(*"abc"[:MAX_DEPTH])
    copy(tmp_path / deepest)
    copy(tmp_path / deepest.parent / "too" / "deep" / "model")
    copy(tmp_path / ".trash/model")
    store = ModelStore(Settings(model_folders=(tmp_path,)), hub_cache=tmp_path / "none")
    assert [model.name for model in store.list()] == [deepest.as_posix()]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HF_HUB_CACHE": "/a"}, "/a"),
        ({"HF_HOME": "/b"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
    ],
)
def test_the_hub_cache_is_where_its_own_tools_keep_it(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_hub_cache() == Path(expected)


def test_a_folder_is_read_again_only_when_something_in_it_changed(store: ModelStore, tmp_path: Path) -> None:
    before = store.find("photo")
    assert store.find("photo") is before
    config = tmp_path / "models/photo/vae/config.json"
    changed = json.loads(config.read_text()) | {"scaling_factor": 0.5}
    config.write_text(json.dumps(changed))
    assert store.find("photo").components["vae"].config["scaling_factor"] == 0.5
    (tmp_path / "models/photo/defaults.json").write_text('{"steps": 3, "guidance": 1.5}')
    found = store.find("photo").defaults
    assert found is not None
    assert found.steps == 3
    shutil.rmtree(tmp_path / "models/photo/unet")
    with pytest.raises(ModelError, match="`unet` is missing"):
        store.find("photo")
