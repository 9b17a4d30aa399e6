"""The index of weight files: what is found, how it is called, and that the disk is right and not the index."""

import hashlib
import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import zoo
from disks import small_disk
from gesso.core.errors import ModelError, UnknownNameError
from gesso.core.settings import Settings
from gesso.models.index import catalogue
from gesso.models.index.entry import IndexedFile
from gesso.models.index.facts import FileFacts, read_facts
from gesso.models.index.walk import MAX_DEPTH, FoundFile
from gesso.models.recognition.kinds import Kind
from gesso.models.store import ModelStore
from rough import python
from thin_files import CHECKPOINT, LORA, VAE, thin


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GESSO_CACHE_FOLDER", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def store(tmp_path: Path, cache: Path) -> ModelStore:
    """Of `models` and of the linked `other`."""
    (tmp_path / "other").mkdir()
    return fresh(tmp_path)


def fresh(tmp_path: Path) -> ModelStore:
    settings = Settings(model_folders=(Path("models"),), linked_folders=(tmp_path / "other",))
    return ModelStore(settings, {"primer": zoo.saved("sd1", 1)}, hub_cache=tmp_path / "hub")


def names(store: ModelStore) -> list[str]:
    return [file.name for file in store.files()]


def test_files_are_of_the_kind_that_their_headers_say_and_not_their_folders(store: ModelStore) -> None:
    thin("models/loras/ink.safetensors", LORA)
    thin("models/loras/lost.safetensors", VAE)
    thin("models/anything.ckpt", CHECKPOINT)
    files = {file.name: file for file in store.files()}
    assert {name: (file.facts.kind, file.family) for name, file in files.items()} == {
        "anything": ("checkpoint", "sd1"),
        "ink": ("lora", "sdxl"),
        "lost": ("vae", "sd1 or sd2 or sdxl"),
    }
    assert [file.name for file in store.files(kinds={Kind.LORA})] == ["ink"]
    assert files["lost"].misplaced == "it lies in `loras`, and its header says vae"
    assert files["ink"].misplaced is None
    assert files["anything"].misplaced is None


def test_a_list_of_folders_says_what_should_lie_in_folders_of_any_name(tmp_path: Path, cache: Path) -> None:
    thin(tmp_path / "odd/ink.safetensors", LORA)
    lists = tmp_path / "extra_model_paths.yaml"
    lists.write_text(f"mine:\n  base_path: {tmp_path}\n  vae: odd\n")
    store = ModelStore(Settings(model_folders=(), linked_folders=(lists,)), hub_cache=tmp_path / "hub")
    [file] = store.files()
    assert file.misplaced == "it lies in `vae`, and its header says lora"


def test_names_are_short_and_no_two_are_alike(store: ModelStore, tmp_path: Path) -> None:
    thin("models/checkpoints/ink.safetensors", CHECKPOINT)
    thin("models/loras/Ink.safetensors")
    thin("models/loras/style/ink.safetensors")
    thin("models/loras/style/ink.ckpt")
    thin(tmp_path / "other/ink.safetensors")
    thin(tmp_path / "other/primer.safetensors")
    found = {file.name: file.path.relative_to(tmp_path).as_posix() for file in store.files()}
    assert found == {
        "ink": "models/checkpoints/ink.safetensors",
        "loras/Ink.safetensors": "models/loras/Ink.safetensors",
        "style/ink": "models/loras/style/ink.ckpt",
        "loras/style/ink.safetensors": "models/loras/style/ink.safetensors",
        "ink.safetensors": "other/ink.safetensors",
        "primer.safetensors": "other/primer.safetensors",
    }
    for name, path in found.items():
        assert store.find_file(name).path == tmp_path / path


def test_a_file_keeps_its_name_when_others_come_after_it_and_go(store: ModelStore, tmp_path: Path) -> None:
    thin("models/ink.safetensors")
    thin(tmp_path / "other/ink.safetensors")
    assert names(store) == ["ink", "ink.safetensors"]
    Path("models/ink.safetensors").unlink()
    assert store.find_file("ink.safetensors").path == tmp_path / "other/ink.safetensors"


def test_a_file_is_found_by_every_spelling_that_only_it_has(store: ModelStore, tmp_path: Path) -> None:
    path = thin("models/loras/style/Café Noir.safetensors")
    for name in (
        "style/Café Noir",
        "Café Noir",
        "café noir",
        "Cafe\u0301 Noir",
        "Café Noir.safetensors",
        "loras/style/Café Noir.safetensors",
        str(tmp_path / path),
        str(path),
    ):
        assert store.find_file(name).path == tmp_path / path


def test_a_name_of_several_files_is_refused_with_all_of_them_unless_the_kind_decides(store: ModelStore) -> None:
    thin("models/loras/a/ink.safetensors", LORA)
    thin("models/loras/b/ink.safetensors", LORA)
    thin("models/vae/c/ink.safetensors", VAE)
    with pytest.raises(ModelError, match="`ink` means 3 files: `a/ink`, `b/ink`, `c/ink`"):
        store.find_file("ink")
    assert store.find_file("ink", kinds={Kind.VAE}).name == "c/ink"
    with pytest.raises(ModelError, match="wanted is controlnet"):
        store.find_file("ink", kinds={Kind.CONTROLNET})
    with pytest.raises(UnknownNameError) as caught:
        store.find_file("c/inc")
    assert "c/ink" in (caught.value.hint or "")


def test_a_file_is_found_by_its_hashes_and_they_are_computed_when_asked_for(store: ModelStore) -> None:
    thin("models/vae/eyes.safetensors", VAE)
    [file] = store.files()
    assert file.sha256 is None
    sha256 = hashlib.sha256(file.path.read_bytes()).hexdigest()
    with pytest.raises(UnknownNameError) as caught:
        store.find(sha256[:10])
    assert "the hashes of 1 file(s) are not known: `gesso models scan --hash`" in (caught.value.hint or "")
    assert store.catalogue.digest(file) == sha256
    assert store.find_file(sha256[:10].upper()).short_hash == sha256[:10]
    assert store.find_file(sha256).sha256 == sha256


def test_the_old_hash_of_automatic1111_is_found_too(store: ModelStore) -> None:
    path = thin("models/paints.ckpt", CHECKPOINT)
    with path.open("r+b") as file:
        file.seek(0x100000)
        file.write(b"painted " * (0x10000 // 8 + 1))
    old_hash = hashlib.sha256(b"painted " * (0x10000 // 8)).hexdigest()[:8]
    [found] = store.files()
    assert found.facts.old_hash == old_hash
    assert store.find_file(old_hash).name == "paints"


def test_a_file_that_is_moved_keeps_its_hash_and_one_that_is_written_again_loses_it(store: ModelStore) -> None:
    path = thin("models/ink.safetensors")
    [file] = store.files()
    sha256 = store.catalogue.digest(file)
    Path("models/loras").mkdir()
    path.rename("models/loras/pen.safetensors")
    [moved] = store.files()
    assert (moved.name, moved.sha256) == ("pen", sha256)
    thin("models/loras/pen.safetensors", LORA, {"modelspec.title": "another"})
    [changed] = store.files()
    assert (changed.sha256, changed.facts.title) == (None, "another")


def test_the_disk_is_right_whatever_the_index_says(store: ModelStore, tmp_path: Path) -> None:
    path = thin("models/ink.safetensors")
    first = store.scan()
    assert (first.new, first.read_again, first.gone) == (1, 0, 0)
    assert (fresh(tmp_path).scan().new, fresh(tmp_path).scan().read_again) == (0, 0)
    thin(path, VAE)
    second = fresh(tmp_path).scan()
    assert (second.new, second.read_again, second.files[0].facts.kind) == (0, 1, "vae")
    path.unlink()
    third = fresh(tmp_path).scan()
    assert (third.files, third.gone) == ((), 1)
    with pytest.raises(UnknownNameError):
        store.find_file("ink")


def test_a_file_that_was_set_back_in_time_is_read_again(store: ModelStore) -> None:
    path = thin("models/ink.safetensors", LORA, {"modelspec.title": "one"})
    assert store.files()[0].facts.title == "one"
    before = path.stat()
    thin(path, LORA, {"modelspec.title": "two"})
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert store.files()[0].facts.title == "two"


def test_a_file_is_listed_once_however_many_links_lead_to_it(store: ModelStore, tmp_path: Path) -> None:
    path = thin("models/loras/ink.safetensors")
    Path("models/a-link.safetensors").symlink_to(path.absolute())
    os.link(path, tmp_path / "other/hard.safetensors")
    (tmp_path / "other/again").symlink_to(tmp_path / "models/loras")
    Path("models/round").symlink_to(tmp_path / "models")
    Path("models/self").symlink_to("self")
    [file] = store.files()
    assert (file.name, file.path) == ("ink", tmp_path / path)
    assert file.also == (tmp_path / "models/a-link.safetensors", tmp_path / "other/hard.safetensors")
    assert store.find("primer").name == "primer"


def test_links_that_lead_nowhere_and_folders_too_deep_are_told(store: ModelStore) -> None:
    Path("models").mkdir()
    Path("models/gone.safetensors").symlink_to("nowhere")
    thin(Path("models", *"abcdefghijklm"[:MAX_DEPTH], "ink.safetensors"))
    thin(Path("models", *"abcdefghijklm"[:MAX_DEPTH], "deeper/ink.safetensors"))
    report = store.scan()
    assert len(report.files) == 1
    assert sorted((path.name, reason) for path, reason in report.problems) == [
        ("deeper", f"it lies more than {MAX_DEPTH} folders deep"),
        ("gone.safetensors", "it is a link that leads nowhere"),
    ]


@pytest.mark.rough(
    "models",
    tried="names of model files that are no UTF-8",
    happens="found, kept, and found again by that name",
    told="in the terminal with the odd bytes spelt out",
)
def test_names_that_are_no_text_are_names(store: ModelStore, tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff-ink")
    thin(f"models/{odd}.safetensors")
    Path(f"models/{odd}.json").write_text('{"description": "half \\ud800 a character"}')
    for _ in range(2):
        assert names(fresh(tmp_path)) == [odd]
        assert fresh(tmp_path).find_file(odd).facts.description == "half ? a character"
    assert fresh(tmp_path).scan().new == 0


@pytest.mark.rough(
    "models",
    tried="files that vanish while the folders are scanned",
    happens="the others are listed",
    told="nothing: they are gone",
)
def test_files_that_vanish_in_the_middle_of_a_scan_are_gone(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        thin(f"models/{name}.safetensors")
    read = read_facts

    def removing(found: FoundFile) -> FileFacts:
        Path("models/b.safetensors").unlink(missing_ok=True)
        return read(found)

    monkeypatch.setattr(catalogue, "read_facts", removing)
    assert names(store) == ["a", "c"]


def test_a_file_that_may_not_be_read_is_asked_again_the_next_time(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    thin("models/ink.safetensors")

    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied", "ink")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refuse)  # root may read everything
        [file] = store.files()
        assert "Permission denied" in (file.facts.problem or "")
    [file] = store.files()
    assert file.facts.problem is None


def test_broken_files_are_there_with_their_reason_and_are_not_read_again(store: ModelStore, tmp_path: Path) -> None:
    Path("models").mkdir()
    Path("models/page.safetensors").write_text("<!doctype html>")
    [file] = store.files()
    assert "a web page" in (file.facts.problem or "")
    assert fresh(tmp_path).scan().read_again == 0
    with pytest.raises(ModelError, match="a web page"):
        store.find_file("page", kinds={Kind.LORA})
    assert store.files(kinds={Kind.LORA}) == []


def test_weights_inside_a_model_folder_are_its_parts_and_those_beside_its_index_are_files(store: ModelStore) -> None:
    shutil.copytree(zoo.saved("sd1"), "models/photo")
    thin("models/photo/photo-pruned.safetensors", CHECKPOINT)
    assert names(store) == ["photo/photo-pruned"]
    assert [model.name for model in store.list()] == ["primer", "photo"]


def test_single_files_in_the_hubs_cache_are_called_after_their_repository(store: ModelStore, tmp_path: Path) -> None:
    root = tmp_path / "hub/models--org--inks"
    blob = thin(root / "blobs/ink.safetensors")
    sha256 = store.catalogue.digest(store.find_file(str(blob)))
    blob.rename(root / "blobs" / sha256)
    for revision in ("old", "new"):
        (root / "snapshots" / revision).mkdir(parents=True)
        (root / "snapshots" / revision / "ink.safetensors").symlink_to(root / "blobs" / sha256)
    (root / "snapshots/new/README.md").write_text("---\nlicense: other\nlicense_name: inks-1\n---\n# Inks\n")
    (root / "refs").mkdir()
    (root / "refs/main").write_text("new")
    [file] = store.files()
    assert (file.name, file.path.parent.name) == ("org/inks/ink", "new")
    assert (file.facts.license, file.facts.declared_sha256) == ("inks-1", sha256)


def test_what_lies_beside_a_file_speaks_where_its_header_is_silent(store: ModelStore) -> None:
    version = {
        "trainedWords": ["ink style, black", "black"],
        "baseModel": "SDXL 1.0",
        "description": "<p>Black <b>ink</b></p>",
        "model": {"name": "Inks", "type": "LORA"},
        "files": [
            {"name": "other.safetensors", "hashes": {"SHA256": "0" * 64}},
            {"name": "ink.safetensors", "hashes": {"SHA256": "AB" * 32, "AutoV2": "ABABABABAB"}},
        ],
    }
    thin("models/ink.safetensors", LORA, {"modelspec.title": "The header's", "modelspec.license": "CC0-1.0"})
    Path("models/ink.civitai.info").write_text(json.dumps(version))
    Path("models/ink.txt").write_text("not asked: the other has a description")
    thin("models/pen.safetensors")
    Path("models/pen.json").write_text(json.dumps({"activation text": "pen, thin pen", "description": "Pens"}))
    Path("models/pen.sha256").write_text(f"{'c' * 64} *pen.safetensors\n")
    thin("models/oil.safetensors")
    manager = {"model_name": "Oils", "base_model": "SDXL", "sha256": "d" * 64, "civitai": {"trainedWords": ["oil"]}}
    Path("models/oil.metadata.json").write_text(json.dumps(manager))
    thin("models/bad.safetensors")
    Path("models/bad.civitai.info").write_text("[1, 2")
    Path("models/bad.json").write_text('{"files": 3, "description": "kept"}')
    Path("models/bad.txt").write_bytes(b"\xff" * 10)
    facts = {file.name: file.facts for file in store.files()}
    ink = facts["ink"]
    assert (ink.title, ink.license, ink.base) == ("The header's", "CC0-1.0", "SDXL 1.0")
    assert (ink.description, ink.trained_words) == ("Black ink", ("ink style", "black"))
    assert ink.declared_sha256 == "ab" * 32
    assert (facts["pen"].trained_words, facts["pen"].description) == (("pen", "thin pen"), "Pens")
    assert facts["pen"].declared_sha256 == "c" * 64
    assert (facts["oil"].title, facts["oil"].trained_words) == ("Oils", ("oil",))
    assert [note for note in facts["bad"].notes if "bad" in note] == [
        "`bad.civitai.info` is not what its name says",
        "`bad.json` is not what its name says",
        "`bad.txt` is not what its name says",
    ]


def test_a_sidecar_that_comes_later_is_read(store: ModelStore) -> None:
    thin("models/ink.safetensors")
    assert store.files()[0].facts.description is None
    Path("models/ink.txt").write_text("ink on paper")
    assert store.files()[0].facts.description == "ink on paper"


@pytest.mark.rough(
    "disks",
    tried="an index of models that is damaged",
    happens="made anew; nothing is lost but time",
    told="one line with the file and what SQLite found",
)
def test_a_damaged_index_is_made_anew_with_one_line(
    store: ModelStore, tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    thin("models/ink.safetensors")
    store.scan()
    for damage in (b"this is no database" * 400, cache.joinpath("models.sqlite").read_bytes()[:5000] + b"x" * 20000):
        for ending in ("-wal", "-shm"):
            cache.joinpath(f"models.sqlite{ending}").unlink(missing_ok=True)
        cache.joinpath("models.sqlite").write_bytes(damage)
        caplog.clear()
        assert names(fresh(tmp_path)) == ["ink"]
        assert [record.getMessage() for record in caplog.records if "is made anew" in record.getMessage()]
        assert len(caplog.records) == 1
        caplog.clear()
        assert fresh(tmp_path).scan().new == 0
        assert not caplog.records


def test_an_index_of_another_version_is_made_anew_without_a_word(
    store: ModelStore, tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    thin("models/ink.safetensors")
    cache.mkdir()
    with sqlite3.connect(cache / "models.sqlite") as old:
        old.execute("CREATE TABLE facts (something TEXT)")
    old.close()
    assert names(store) == ["ink"]
    assert fresh(tmp_path).scan().new == 0
    assert not caplog.records


@pytest.mark.rough(
    "disks",
    tried="no room, or no right to write, for the index of models",
    happens="every header is read each time",
    told="one line: the index is not kept, and why",
)
def test_without_a_place_for_the_index_everything_works(
    store: ModelStore, tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(30):
        thin(f"models/{number:02}.safetensors", LORA, {"modelspec.description": "x" * 300})
    cache.touch()  # a file, where a folder should be
    assert len(names(store)) == 30
    assert store.find_file("07").facts.kind == "lora"
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        f"The index of models is not kept in `{cache}/models.sqlite`"
    ]
    cache.unlink()
    caplog.clear()
    with small_disk(cache, kib=24) as mounted:
        if not mounted:
            pytest.skip("no right to mount a small disk")
        assert len(names(fresh(tmp_path))) == 30
        [record] = caplog.records
        assert "full" in record.getMessage() or "disk" in record.getMessage()


@pytest.mark.rough(
    "crowds",
    tried="several processes that scan the same folders at once",
    happens="each lists everything, and the index is whole",
    told="nothing",
)
def test_several_processes_may_scan_at_once(tmp_path: Path, cache: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    for number in range(40):
        thin(f"models/{number}.safetensors")
    program = (
        "from gesso.core.settings import load_settings\n"
        "from gesso.models.store import ModelStore\n"
        "store = ModelStore(load_settings())\n"
        "for _ in range(3):\n"
        "    files = store.files()\n"
        "    for file in files[:4]: store.catalogue.digest(file)\n"
        "print(len(files))"
    )
    with ThreadPoolExecutor(3) as threads:
        runs = list(threads.map(lambda _: python(program), range(3)))
    assert [(run.stdout, run.stderr) for run in runs] == [(b"40\n", b"")] * 3
    with sqlite3.connect(cache / "models.sqlite") as index:
        assert index.execute("SELECT count(*) FROM facts").fetchone() == (40,)
        assert index.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    index.close()


def test_no_file_is_hashed_and_no_other_header_is_read_to_find_one(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ink", "pen", "oil"):
        thin(f"models/{name}.safetensors")
    read: list[str] = []
    facts = read_facts

    def noting(found: FoundFile) -> FileFacts:
        read.append(found.inside)
        return facts(found)

    def refuse(*_: Any) -> str:
        pytest.fail("a file was hashed")

    monkeypatch.setattr(catalogue, "read_facts", noting)
    monkeypatch.setattr(catalogue, "file_digest", refuse)
    assert isinstance(store.find_file("pen"), IndexedFile)
    assert read == ["pen.safetensors"]


def test_a_checkpoint_is_found_by_name_as_a_model_and_a_lora_is_none(store: ModelStore) -> None:
    thin("models/checkpoints/paints.safetensors", CHECKPOINT)
    thin("models/loras/ink.safetensors", LORA)
    with pytest.raises(ModelError, match=r"checkpoints/paints.safetensors` lacks"):  # found, and it is a thin one
        store.find("paints")
    with pytest.raises(ModelError, match="`ink` is a file of the kind lora, wanted is checkpoint or denoiser"):
        store.find("ink")
    with pytest.raises(UnknownNameError) as caught:
        store.find("paint")
    assert "paints" in (caught.value.hint or "")


def test_the_index_is_not_opened_for_models_that_have_folders(store: ModelStore, cache: Path) -> None:
    shutil.copytree(zoo.saved("sd1"), "models/photo")
    thin("models/ink.safetensors")
    assert store.find("photo").name == "photo"
    assert store.find("primer").name == "primer"
    assert not cache.exists()
