"""`gesso models list|show|scan|verify|remove|link|unlink` on folders of weight files, for people and for programs."""

import json
import os
import shutil
from pathlib import Path

import pytest

from cli_runs import Command
from gesso.primer import weights_folder
from thin_files import CHECKPOINT, LORA, VAE, thin


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings, links and index of this test alone."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GESSO_CACHE_FOLDER", str(tmp_path / "cache"))
    return tmp_path / "home"


@pytest.fixture
def webui(tmp_path: Path) -> Path:
    """A folder of AUTOMATIC1111."""
    folder = tmp_path / "webui"
    thin(folder / "models/Stable-diffusion/paints.safetensors", CHECKPOINT)
    thin(folder / "models/Lora/ink.safetensors", LORA, {"modelspec.title": "Black ink"})
    thin(folder / "models/VAE/wrong.safetensors", LORA)
    (folder / "embeddings").mkdir()
    return folder


def before(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder, with its size and time."""
    found = {str(path): path.lstat() for path in folder.rglob("*")}
    return {path: (status.st_size, status.st_mtime_ns) for path, status in found.items()}


def names(command: Command, *arguments: object) -> list[str]:
    return [entry["name"] for entry in command("models", "list", "--json", *arguments).data]


def test_a_linked_folder_is_recognised_used_and_never_written(command: Command, webui: Path) -> None:
    untouched = before(webui)
    ran = command("models", "link", webui)
    assert ran.code == 0
    assert [line.split() for line in ran.out.splitlines()] == [
        ["LINKED", "FOLDER", "LAYOUT", "FILES"],
        [str(webui), "AUTOMATIC1111", "3"],
    ]
    assert names(command) == ["primer", "ink", "paints", "wrong"]
    listed = command("models", "list")
    assert f"{webui}  AUTOMATIC1111  3" in listed.out
    assert "warning: `wrong`: it lies in `VAE`, and its header says lora" in listed.err
    [line] = [line for line in listed.out.splitlines() if line.startswith("ink ")]
    assert line.split() == [
        "ink",
        "lora",
        "sdxl",
        "float16",
        "42.5",
        "KiB",
        "pending",
        str(webui / "models/Lora/ink.safetensors"),
    ]
    assert command("models", "link", "--json").data[0]["layout"] == "AUTOMATIC1111"
    command("models", "scan", "--hash")
    command("models", "verify")
    assert before(webui) == untouched


def test_a_link_holds_for_commands_to_come_until_it_is_taken_back(command: Command, webui: Path, home: Path) -> None:
    assert command("models", "link", webui, "--json").data[0]["files"] == 3
    command("models", "link", webui)
    assert json.loads((home / "gesso/linked-folders.json").read_text()) == {"linked_folders": [str(webui)]}
    assert command("models", "show", "ink", "--json").data["linked"] is True
    ran = command("models", "unlink", webui)
    assert (ran.code, ran.out) == (0, f"unlinked `{webui}`; nothing in it was touched\n")
    assert names(command) == ["primer"]
    ran = command("models", "unlink", webui)
    assert ran.code == 3
    assert ran.err == f"error: `{webui}` is not linked\nhint: linked: none\n"


def test_what_cannot_be_linked_is_told_and_not_kept(command: Command, tmp_path: Path, home: Path) -> None:
    ran = command("models", "link", tmp_path / "nothing")
    assert ran.code == 3
    assert ran.err.startswith(f"error: `{tmp_path / 'nothing'}` could not be read as a folder: No such file")
    assert not home.exists()


def test_a_linked_folder_that_is_gone_is_told_and_the_others_are_listed(command: Command, webui: Path) -> None:
    command("models", "link", webui)
    shutil.rmtree(webui)
    ran = command("models", "list")
    assert ran.code == 0
    assert "primer" in ran.out
    assert ran.err.startswith(f"warning: `{webui}` is left out: ")


def test_a_link_without_effect_says_so(command: Command, webui: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GESSO_LINKED_FOLDERS", "[]")
    ran = command("models", "link", webui)
    assert ran.code == 2
    assert "has no effect" in ran.err


@pytest.mark.rough(
    "settings",
    tried="a list of linked folders that is damaged",
    happens="refused, exit code 2",
    told="the file, and how to come by a new one",
)
def test_a_damaged_list_of_links_is_told_with_its_file(command: Command, home: Path) -> None:
    file = home / "gesso/linked-folders.json"
    file.parent.mkdir(parents=True)
    for text in ("{", '{"linked_folders": [3]}', "[]", '{"linked_folders": ["a\\u0000"]}'):
        file.write_text(text)
        ran = command("models", "list")
        assert ran.code == 2
        assert ran.err.startswith(f"error: `{file}` holds no list of linked folders\nhint: remove the file")


def test_the_list_can_be_narrowed(command: Command) -> None:
    thin("models/paints.safetensors", CHECKPOINT)
    thin("models/ink.safetensors", LORA, {"modelspec.title": "Black", "modelspec.trigger_phrase": "inky"})
    thin("models/eyes.safetensors", VAE)
    Path("models/page.ckpt").write_text("<html>")
    assert names(command, "--kind", "lora") == ["ink"]
    assert names(command, "--kind", "pipeline") == ["primer"]
    assert names(command, "--kind", "broken") == ["page"]
    assert names(command, "--family", "sd1") == ["primer", "eyes", "paints"]
    assert names(command, "--family", "sd1", "--kind", "checkpoint") == ["paints"]
    assert names(command, "INK") == names(command, "black") == names(command, "inky") == ["ink"]
    ran = command("models", "list", "--kind", "lorra")
    assert ran.code == 2
    assert ran.err == "error: `--kind`: there is no kind `lorra`\nhint: nearest: lora\n"
    ran = command("models", "list", "--family", "sd9")
    assert ran.code == 0
    assert ran.err == "warning: nothing here is of the family `sd9`; there is sd1, sd2, sdxl\n"


def test_a_broken_file_is_listed_with_its_reason(command: Command) -> None:
    Path("models").mkdir()
    Path("models/page.ckpt").write_text("<html>")
    ran = command("models", "list")
    assert ran.code == 0
    assert ran.err.startswith("warning: `page` cannot be used: ")
    assert "a web page" in ran.err
    ran = command("models", "show", "page")
    assert ran.code == 3
    assert "a web page" in ran.err


def test_a_file_is_shown_by_name_with_what_is_known_of_it_and_what_its_header_says(command: Command) -> None:
    path = thin("models/loras/ink.safetensors", LORA, {"modelspec.title": "Black ink"}).absolute()
    Path("models/loras/ink.civitai.info").write_text('{"trainedWords": ["inky"]}')
    shown = command("models", "show", "ink").out
    for words in ("name       ink", "sha256     pending", "words      inky", "algorithm  LoRA", "lora_down.weight"):
        assert words in shown
    command("models", "scan", "--hash")
    data = command("models", "show", "ink", "--json").data
    assert (data["name"], data["path"], data["ranks"], data["trained_words"]) == ("ink", str(path), [8], ["inky"])
    assert data["short_hash"] == data["sha256"][:10]
    assert command("models", "show", data["short_hash"], "--json").data == data
    assert f"hash       {data['short_hash']}" in command("models", "show", "ink").out


def test_scanning_tells_what_is_new_changed_and_gone(command: Command) -> None:
    thin("models/a.safetensors")
    thin("models/b.safetensors")
    facts = command("models", "scan", "--json").data
    assert {name: facts[name] for name in ("models", "files", "new", "read_again", "gone", "hashed", "pending")} == {
        "models": 1,
        "files": 2,
        "new": 2,
        "read_again": 0,
        "gone": 0,
        "hashed": 0,
        "pending": 2,
    }
    thin("models/a.safetensors", VAE)
    Path("models/b.safetensors").unlink()
    ran = command("models", "scan", "--hash")
    assert "0 new, 1 read again, 1 gone" in ran.out
    assert "1 computed, 0 pending" in ran.out


def test_verifying_names_what_changed(command: Command) -> None:
    path = thin("models/ink.safetensors")
    other = thin("models/oil.safetensors")
    Path("models/oil.sha256").write_text("0" * 64)
    first = command("models", "verify", "ink")
    assert first.code == 0
    assert "sound, and known from now on" in first.out
    assert command("models", "verify", "ink", "--json").data[0]["compared_with"] == ["its sha256 of before"]
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    whole = path.read_bytes()
    changed = command("models", "verify", "ink", "--json")
    assert changed.code == 3
    assert changed.data[0]["sound"] is False
    assert changed.data[0]["problems"][-1].startswith(f"sha256 is {changed.data[0]['sha256']}, was ")
    again = command("models", "verify", "ink")
    assert again.code == 3, "verifying accepts nothing"
    assert "warning: `ink`: sha256 is " in again.err
    assert path.read_bytes() == whole
    declared = command("models", "verify", "oil")
    assert declared.code == 3
    assert f"what came with the file says {'0' * 64}" in declared.err
    with other.open("r+b") as file:
        file.truncate(100)
    everything = command("models", "verify", "--json")
    assert everything.code == 3
    problems = {entry["name"]: entry["problems"] for entry in everything.data}
    assert problems["primer"] == []
    assert "truncated" in problems["oil"][0]


def test_bytes_that_changed_without_a_trace_are_found(command: Command) -> None:
    path = thin("models/ink.safetensors")
    command("models", "verify")
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    ran = command("models", "verify", "ink")
    assert ran.code == 3
    assert "its bytes changed, and its time did not" in ran.err


def test_a_model_folder_is_verified_with_all_its_weights(command: Command) -> None:
    shutil.copytree(weights_folder(), "models/mine")
    assert command("models", "verify", "mine").code == 0
    weights = next(Path("models/mine/vae").glob("*.safetensors"))
    with weights.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    [entry] = command("models", "verify", "mine", "--json").data
    assert [problem.split(":")[0] for problem in entry["problems"]] == [f"vae/{weights.name}"]
    assert "sha256 is" in entry["problems"][0]
    with weights.open("r+b") as file:
        file.truncate(1000)
    ran = command("models", "verify", "mine")
    assert ran.code == 3
    assert "truncated" in ran.err


def test_a_file_of_gessos_own_is_removed_with_what_describes_it(command: Command) -> None:
    path = thin("models/loras/ink.safetensors").absolute()
    size = path.stat().st_size
    beside = path.with_suffix(".civitai.info")
    beside.write_text("{}")
    other = thin("models/loras/oil.safetensors")
    ran = command("models", "remove", "ink")
    assert ran.code == 2
    assert ran.err == (
        "error: Nobody is there to be asked whether to remove it\nhint: `--yes` removes without asking\n"
    )
    assert path.exists()
    ran = command("models", "remove", "ink", "--yes", "--json")
    assert ran.data == [{"name": "ink", "paths": [str(path), str(beside)], "freed_bytes": size + 2}]
    assert sorted(Path("models").rglob("*.*")) == [other]
    assert names(command) == ["primer", "oil"]


def test_where_a_file_was_from_goes_with_it_and_what_describes_another_too_stays(command: Command) -> None:
    path, other = thin("models/ink.safetensors"), thin("models/ink.sft")
    origin, notes = path.with_name("ink.safetensors.origin.json"), path.with_suffix(".json")
    for beside in (origin, notes):
        beside.write_text("{}")
    assert command("models", "remove", "ink", "--yes").code == 0
    assert sorted(Path("models").iterdir()) == sorted((other, notes))


def test_a_model_folder_of_gessos_own_is_removed_whole(command: Command) -> None:
    shutil.copytree(weights_folder(), "models/mine")
    freed = sum(path.stat().st_size for path in Path("models/mine").rglob("*") if path.is_file())
    ran = command("models", "remove", "mine", "--yes")
    assert f" ({freed} bytes) freed\n" in ran.out
    assert list(Path("models").iterdir()) == []


def test_a_person_is_asked_and_may_say_no(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    path = thin("models/ink.safetensors").absolute()
    asked: list[str] = []

    def answer(question: str, **_: object) -> bool:
        asked.append(question)
        return len(asked) > 1

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", answer)
    ran = command("models", "remove", "ink")
    assert ran.code == 130
    assert ran.err == f"{path}\nerror: Nothing was removed\n"
    assert path.exists()
    assert command("models", "remove", "ink").code == 0
    assert not path.exists()
    assert asked == ["Remove these, 42.4 KiB?"] * 2


@pytest.mark.rough(
    "models",
    tried="removing what lies in a folder of another studio, or is reached through a link",
    happens="refused, exit code 3; nothing is removed",
    told="where the file lies",
)
def test_nothing_is_removed_outside_gessos_own_folders_or_through_a_link(
    command: Command, webui: Path, tmp_path: Path
) -> None:
    command("models", "link", webui)
    Path("models").mkdir()
    Path("models/shelf").symlink_to(thin(tmp_path / "shelf/oil.safetensors").parent)
    Path("models/pen.safetensors").symlink_to(thin(tmp_path / "shelf/nib.safetensors"))
    untouched = before(tmp_path)
    for name, told in (
        ("ink", "outside the model folders"),
        ("primer", "outside the model folders"),
        ("oil", f"through a link to `{tmp_path}/shelf/oil.safetensors`"),
        ("nib", f"through a link to `{tmp_path}/shelf/nib.safetensors`"),
        ("./models/pen.safetensors", f"through a link to `{tmp_path}/shelf/nib.safetensors`"),
        (str(tmp_path / "shelf/nib.safetensors"), "outside the model folders"),
    ):
        ran = command("models", "remove", name, "--yes")
        assert ran.code == 3
        assert "is not Gesso's to remove: it lies in `/" in ran.err
        assert told in ran.err
    ran = command("models", "remove", "pen", "--yes")
    assert ran.code == 3
    assert ran.err.startswith(f"error: `pen` is a link to `{tmp_path}/models/shelf/nib.safetensors`\nhint: ")
    ran = command("--model-folder", webui / "models", "models", "remove", "ink", "--yes")
    assert ran.code == 3
    assert f"belongs to the linked `{webui}`" in ran.err
    assert {path: state for path, state in before(tmp_path).items() if "/cache" not in path} == {
        path: state for path, state in untouched.items() if "/cache" not in path
    }


def test_of_a_file_with_two_names_nothing_is_freed(command: Command, tmp_path: Path) -> None:
    os.link(thin("models/ink.safetensors"), tmp_path / "kept.safetensors")
    assert command("models", "remove", "ink", "--yes").out == "removed `ink`, 0 B (0 bytes) freed\n"
    assert (tmp_path / "kept.safetensors").exists()


def test_a_picture_is_asked_of_a_file_by_its_name(command: Command) -> None:
    path = thin("models/paints.safetensors", CHECKPOINT).absolute()
    ran = command("generate", "a red circle", "--model", "paints")
    assert ran.code == 3
    assert ran.err.startswith(f"error: `{path}` lacks ")  # found, and it is a thin one


def test_a_folder_put_in_place_is_found_at_once(command: Command) -> None:
    command("models", "scan")
    shutil.copytree(weights_folder(), "models/mine")
    assert names(command) == ["primer", "mine"]
    assert command("models", "show", "mine").code == 0
