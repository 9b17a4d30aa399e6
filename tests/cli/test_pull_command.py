"""`gesso models pull` and `bases`, and a model that a request names and that is not here."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import zoo
from cli_runs import Command, start
from gesso.models.folder import describe
from gesso.models.single_files.convert.convert import convert_model
from model_sites import Hold, ModelSite
from rough import files_below

if sys.platform == "win32":
    pytest.skip("terminals and signals of POSIX", allow_module_level=True)

BODY = os.urandom(3_000_000)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelSite]:
    with ModelSite() as opened:
        monkeypatch.setenv("HF_ENDPOINT", opened.url)
        monkeypatch.setenv("GESSO_CIVITAI_ENDPOINT", opened.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        for name in ("HF_TOKEN", "CIVITAI_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        yield opened


def add_thin_model(site: ModelSite, repo: str, kind: str = "sd1") -> None:
    folder = zoo.saved(kind)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    site.add_hub_repo(repo, files, card={"license": "creativeml-openrail-m"})


def test_a_model_is_fetched_and_its_path_printed(site: ModelSite, command: Command) -> None:
    add_thin_model(site, "org/thin")
    ran = command("models", "pull", "org/thin", "--yes")
    assert (ran.code, ran.out) == (0, "models/org/thin\n")
    assert "licence: creativeml-openrail-m" in ran.err
    assert "MiB in" in ran.err or "KiB in" in ran.err
    shown = command("models", "show", "org/thin", "--json").data
    assert shown["family"] == "sd1"
    again = command("models", "pull", "org/thin", "--yes", "--json")
    assert again.data["already"] is True
    assert again.err == "warning: `org/thin` is here already\n"


def test_as_data_it_says_what_came_from_where(site: ModelSite, command: Command) -> None:
    site.add_civitai_model(1, 2, "a.safetensors", BODY)
    data = command("models", "pull", "civitai:1", "--yes", "--into", "elsewhere", "--json").data
    assert data["path"] == "elsewhere/a.safetensors"
    assert data["files"] == ["a.safetensors"]
    assert data["trained_words"] == ["ohwx", "a painting"]
    assert Path("elsewhere/a.safetensors").read_bytes() == BODY


def test_where_nobody_can_agree_nothing_is_fetched(site: ModelSite, command: Command) -> None:
    add_thin_model(site, "org/thin")
    ran = command("models", "pull", "org/thin")
    assert ran.code == 2
    assert "error: Nobody is here to agree to" in ran.err
    assert "hint: `gesso models pull org/thin --yes` agrees" in ran.err
    assert not Path("models").exists()


def test_who_chose_to_be_offline_stays_so(site: ModelSite, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    ran = command("models", "pull", "org/thin", "--yes")
    assert ran.code == 2
    assert "`HF_HUB_OFFLINE` is `1`" in ran.err
    assert site.asked == []


def test_a_request_names_the_command_that_fetches_its_model(command: Command) -> None:
    ran = command("generate", "x", "--model", "sdxl-base")
    assert ran.code == 3
    assert "error: Unknown model: `sdxl-base`" in ran.err
    assert "`gesso models pull sdxl-base` fetches it" in ran.err


def test_a_request_with_a_yes_fetches_its_model_and_runs(site: ModelSite, command: Command) -> None:
    add_thin_model(site, "stable-diffusion-v1-5/stable-diffusion-v1-5")
    ran = command("generate", "x", "--model", "sd15", "--yes", "--steps", 2, "--out", "x.png", "--json")
    assert ran.code == 0, ran.err
    assert Path("x.png").is_file()
    shown = command("show", "x.png", "--json").data
    assert shown["recipe"]["asked"]["model"] == "sd15"
    assert shown["recipe"]["resolved"]["model"] == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    site.asked.clear()
    assert command("generate", "x", "--model", "sd15", "--steps", 2, "--out", "y.png").code == 0
    assert site.asked == [], "it is here now"


def test_for_a_folder_of_pictures_it_is_fetched_once(site: ModelSite, command: Command) -> None:
    add_thin_model(site, "stable-diffusion-v1-5/stable-diffusion-v1-5")
    Path("photos").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 64), "red").save(Path("photos", name))
    ran = command("edit", "photos", "x", "--model", "sd15", "--yes", "--steps", 2)
    assert ran.code == 0, ran.err
    assert len(ran.out.splitlines()) == 2
    assert ran.err.count("is not on this machine") == 1


def test_a_picture_that_cannot_be_read_does_not_keep_a_folders_model_away(
    site: ModelSite, command: Command, tmp_path: Path
) -> None:
    convert_model(describe(zoo.saved("sd1")), tmp_path / "a.safetensors", cache_folder=tmp_path / "cache")
    site.add_civitai_model(1, 2, "a.safetensors", (tmp_path / "a.safetensors").read_bytes())
    Path("photos").mkdir()
    Path("photos/a.png").write_text("things to buy")
    Image.new("RGB", (64, 64), "red").save("photos/b.png")
    ran = command("edit", "photos", "x", "--model", "civitai:1", "--yes", "--steps", 2)
    assert "a.png` is not a PNG, JPEG or WebP picture" in ran.err
    assert "Of 2 pictures 1 failed" in ran.err
    assert len(ran.out.splitlines()) == 1


def test_a_model_that_refines_itself_is_fetched_once(site: ModelSite, command: Command, tmp_path: Path) -> None:
    convert_model(describe(zoo.saved("sd1")), tmp_path / "a.safetensors", cache_folder=tmp_path / "cache")
    site.add_civitai_model(1, 2, "a.safetensors", (tmp_path / "a.safetensors").read_bytes())
    ran = command("generate", "x", "--model", "civitai:1", "--refiner", "civitai:1", "--yes", "--steps", 6)
    assert ran.code == 0, ran.err
    assert ran.err.count("is not on this machine") == 1


def test_a_model_and_a_refiner_that_are_not_here_are_fetched_one_after_the_other_also_from_a_link(
    site: ModelSite, command: Command, tmp_path: Path
) -> None:
    add_thin_model(site, "stabilityai/stable-diffusion-xl-base-1.0", "sdxl")
    convert_model(describe(zoo.saved("sdxl-refiner")), tmp_path / "a.safetensors", cache_folder=tmp_path / "cache")
    site.add_civitai_model(1, 2, "a.safetensors", (tmp_path / "a.safetensors").read_bytes())
    options = ("--model", "sdxl-base", "--steps", 2, "--refiner", "civitai:1", "--refiner-at", 0.5)
    ran = command("generate", "x", *options, "--yes", "--size", "64x64", "--out", "x.png")
    assert ran.code == 0, ran.err
    recipe = command("show", "x.png", "--json").data["recipe"]
    resolved = recipe["resolved"]
    assert Path(resolved["refiner"]["model"]).name == "a.safetensors"
    assert Path(recipe["asked"]["refiner"]["model"]).name == "a.safetensors"  # a link is not kept
    assert resolved["model"] == "stabilityai/stable-diffusion-xl-base-1.0"
    assert ran.err.count("is not on this machine") == 2


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 130)])
def test_at_a_terminal_it_is_asked_before(site: ModelSite, answer: str, code: int) -> None:
    site.add_civitai_model(1, 2, "a.safetensors", BODY)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(Path(zoo.__file__).parents[2] / "src"), "TERM": "dumb"}
    running = subprocess.Popen(
        [sys.executable, "-m", "gesso", "models", "pull", "civitai:1"],
        env=environment, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while b"Fetch it?" not in seen and running.poll() is None and select.select([ours], [], [], 60)[0]:
        seen += os.read(ours, 4096)
    assert b"licence: CivitAI: commercial use: Image" in seen
    assert not site.asked_for("/api/download/")
    os.write(ours, answer.encode())
    while running.poll() is None and select.select([ours], [], [], 60)[0]:  # or the bar would wait for a reader
        try:
            os.read(ours, 4096)
        except OSError:
            break
    out, _ = running.communicate(timeout=60)
    os.close(ours)
    assert running.returncode == code
    assert out.decode().split() == (["models/a.safetensors"] if code == 0 else [])
    assert Path("models/a.safetensors").exists() == (code == 0)


@pytest.mark.rough(
    "downloads",
    tried="SIGKILL in the middle of a download, and the same command again",
    happens="nothing has the name of the model; then the bytes that are missing are asked for, and no others",
    told="the path of the model",
)
def test_after_a_kill_only_what_is_missing_is_fetched(site: ModelSite) -> None:
    site.add_civitai_model(1, 2, "a.safetensors", BODY)
    hold = Hold(after=2_000_000)
    site.fail("/api/download/", hold)
    running = start("models", "pull", "civitai:1", "--yes", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert hold.reached.wait(60)
        part = wait_for_part(1_900_000)
        running.send_signal(signal.SIGKILL)
        running.communicate(timeout=60)
    finally:
        running.kill()
        hold.release.set()
    assert [name for name in files_below("models") if not name.startswith(".pull-")] == []
    have = part.stat().st_size
    again = start("models", "pull", "civitai:1", "--yes", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = again.communicate(timeout=60)
    assert (again.returncode, out.decode()) == (0, "models/a.safetensors\n"), err
    assert Path("models/a.safetensors").read_bytes() == BODY
    assert [one.headers.get("range") for one in site.asked_for("/api/download/")] == [None, f"bytes={have}-"]
    assert files_below("models") == ["a.safetensors", "a.safetensors.origin.json"]


def wait_for_part(size: int) -> Path:
    """The file on its way, once it has that many bytes."""
    import threading

    waiting = threading.Event()
    for _ in range(6000):
        found = [path for path in Path("models").rglob("*.part") if path.stat().st_size >= size]
        if found:
            return found[0]
        waiting.wait(0.01)
    raise AssertionError("nothing came")


@pytest.mark.rough(
    "downloads",
    tried="SIGTERM or Ctrl-C in the middle of a download",
    happens="what came is kept for the next time, and nothing has the name of the model",
    told="exit 143 or 130: one line",
)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupt_ends_in_one_line(site: ModelSite, number: signal.Signals, code: int) -> None:
    site.add_civitai_model(1, 2, "a.safetensors", BODY)
    hold = Hold(after=1_000_000)
    site.fail("/api/download/", hold)
    running = start("models", "pull", "civitai:1", "--yes", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert hold.reached.wait(60)
        running.send_signal(number)
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
        hold.release.set()
    assert (running.returncode, out) == (code, b"")
    assert [line for line in err.decode().splitlines() if line.startswith("error:")] == err.decode().splitlines()[-1:]
    assert not Path("models/a.safetensors").exists()


def test_the_known_bases_are_listed_for_people_and_programs(command: Command) -> None:
    rows = {row["name"]: row for row in command("models", "bases", "--json").data}
    assert rows["sdxl-turbo"]["steps"] == 4
    assert rows["flux1-dev"]["gated"] is True
    listed = command("models", "bases").out.splitlines()
    assert len(listed) == len(rows) + 1
    [line] = [line for line in listed if line.startswith("flux1-dev ")]
    assert "flux-1-dev-non-commercial-license (gated)" in line


def test_a_projects_settings_may_not_choose_who_gets_the_token(command: Command) -> None:
    Path("gesso.toml").write_text('civitai_endpoint = "https://evil.example.invalid"\n')
    ran = command("models", "bases", "--json")
    assert ran.code == 0, "it needs no settings"
    ran = command("models", "pull", "civitai:1", "--yes")
    assert ran.code == 2
    assert "may not set `civitai_endpoint`" in ran.err
    assert json.loads(command("models", "bases", "--json").out)
