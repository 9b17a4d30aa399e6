import hashlib
import os
import shutil
import threading
from pathlib import Path

import pytest

import zoo
from gesso.core.errors import ModelError
from gesso.models import identity
from gesso.models.folder import ModelDescription, describe
from gesso.models.identity import Identities, content_files


@pytest.fixture
def model(tmp_path: Path) -> ModelDescription:
    return describe(Path(shutil.copytree(zoo.saved("sd1"), tmp_path / "model")))


@pytest.fixture
def identities(tmp_path: Path) -> Identities:
    return Identities(tmp_path / "cache")


def change_byte(path: Path, *, keep_time: bool = False) -> None:
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    shift = 0 if keep_time else 1_000_000
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + shift))


def unet_weights(model: ModelDescription) -> Path:
    return model.components["unet"].weight_files[0]


def test_the_digest_is_over_sorted_paths_and_digests_of_files(model: ModelDescription, identities: Identities) -> None:
    lines = [f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n" for name, path in content_files(model)]
    assert lines == sorted(lines)
    assert identities.digest(model) == f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def test_configs_weights_tokenizer_and_scheduler_all_count(model: ModelDescription) -> None:
    assert {name for name, _ in content_files(model)} == {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    }


def test_the_same_files_elsewhere_are_the_same_model(
    model: ModelDescription, identities: Identities, tmp_path: Path
) -> None:
    twin = describe(Path(shutil.copytree(model.path, tmp_path / "twin")))
    assert identities.digest(twin) == identities.digest(model)


def test_what_does_not_decide_pixels_does_not_count(model: ModelDescription, identities: Identities) -> None:
    before = identities.digest(model)
    (model.path / "README.md").write_text("hello")
    (model.path / "unet/diffusion_pytorch_model.fp16.safetensors").write_bytes(b"not loaded: there is a plain file")
    assert identities.digest(describe(model.path)) == before


@pytest.mark.parametrize("file", [name for name, _ in content_files(describe(zoo.saved("sd1")))])
def test_one_byte_in_any_file_makes_it_another_model(
    model: ModelDescription, identities: Identities, file: str
) -> None:
    before = identities.digest(model)
    change_byte(model.path / file)
    assert identities.digest(model) != before


def test_a_file_is_read_again_only_if_its_time_or_size_changed(model: ModelDescription, tmp_path: Path) -> None:
    before = Identities(tmp_path / "cache").digest(model)
    change_byte(unet_weights(model), keep_time=True)
    assert Identities(tmp_path / "cache").digest(model) == before  # another process: the cache is on the disk
    assert Identities(tmp_path / "elsewhere").digest(model) != before


@pytest.mark.rough(
    "pictures",
    tried="a cache of digests that is half, garbage, or of the wrong shape",
    happens="computed anew",
    told="nothing is said",
)
def test_a_damaged_cache_is_as_good_as_none(model: ModelDescription, tmp_path: Path) -> None:
    expected = Identities(tmp_path / "one").digest(model)
    for content in ("{", "[]", '{"a": 1}'):
        (tmp_path / "two").mkdir(exist_ok=True)
        (tmp_path / "two" / identity.CACHE_FILE).write_text(content)
        assert Identities(tmp_path / "two").digest(model) == expected


def test_a_cache_that_cannot_be_written_costs_only_time(
    model: ModelDescription, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way of the folder")
    assert Identities(tmp_path / "file").digest(model) == Identities(tmp_path / "cache").digest(model)
    assert "not kept" in caplog.text


def test_digests_of_several_models_share_a_cache(model: ModelDescription, tmp_path: Path) -> None:
    other = describe(zoo.saved("sd2"))
    one, two = Identities(tmp_path / "cache"), Identities(tmp_path / "cache")
    two.digest(describe(zoo.saved("sdxl")))  # reads the cache before the other one writes to it
    digests = one.digest(model), two.digest(other)
    change_byte(unet_weights(model), keep_time=True)
    third = Identities(tmp_path / "cache")
    assert (third.digest(model), third.digest(other)) == digests


@pytest.mark.rough(
    "models",
    tried="a weight file written to while its digest is computed",
    happens="computed anew, the next time",
    told="nothing is said",
)
def test_a_file_written_to_while_it_is_read_is_read_again(
    model: ModelDescription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_and_change(path: Path) -> str:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        change_byte(path)
        return digest

    with monkeypatch.context() as patched:
        patched.setattr(identity, "file_digest", read_and_change)
        disturbed = Identities(tmp_path / "cache").digest(model)
    settled = Identities(tmp_path / "cache").digest(model)
    assert settled == Identities(tmp_path / "elsewhere").digest(model) != disturbed


def test_many_threads_get_the_same_digest(model: ModelDescription, identities: Identities) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(identities.digest(model))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_small_model_is_never_pending(model: ModelDescription, identities: Identities) -> None:
    assert identities.digest_or_pending(model) == identities.digest(model)


def test_a_large_model_is_pending_until_a_thread_has_read_it(
    model: ModelDescription, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "INLINE_BYTES", 1)
    assert identities.digest_or_pending(model) == "pending"
    readers = [thread for thread in threading.enumerate() if thread.name.startswith("gesso-identity")]
    assert all(thread.daemon for thread in readers)
    for thread in readers:
        thread.join(10)
    assert identities.digest_or_pending(model) == identities.digest(model)


def test_a_file_that_vanished_is_a_model_error(model: ModelDescription, identities: Identities) -> None:
    unet_weights(model).unlink()
    with pytest.raises(ModelError, match="could not be read"):
        identities.digest(model)
