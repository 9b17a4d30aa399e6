"""Writers that are killed, folders that vanish, models that change under the hand."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import disks
import studios
import zoo
from cli_runs import SOURCE
from gesso.core.errors import ModelError, StorageError
from gesso.engine.resume import RequestJournal
from gesso.models.folder import describe
from gesso.models.identity import CACHE_FILE, Identities
from rough import files_below, python, quick

if sys.platform == "win32":
    pytest.skip("signals and links of POSIX", allow_module_level=True)

UNET_FILE = "unet/diffusion_pytorch_model.safetensors"

# --- killed in the middle of writing

KILLED_BEFORE = """
import os, signal, sys
from pathlib import Path
from gesso.core.files import write_atomically
setattr(os, sys.argv[2], lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
write_atomically(Path(sys.argv[1]), b"new" * 100_000, exclusive=sys.argv[2] == "link")
"""


@pytest.mark.rough(
    "killed",
    tried="kill -9 while a file is written: before its bytes are safe, before it gets its name",
    happens="the old file is whole, or there is none; a hidden `.….part` stays, which nobody reads",
    told="nothing can be told",
)
@pytest.mark.parametrize("moment", ["fsync", "replace", "link"])
def test_a_writer_that_is_killed_leaves_the_old_file(moment: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    if moment != "link":
        path.write_bytes(b"old")
    assert python(KILLED_BEFORE, path, moment).returncode == -signal.SIGKILL
    left = [name for name in files_below(tmp_path) if not name.endswith(".part")]
    assert left == ([] if moment == "link" else ["a.png"])
    assert moment == "link" or path.read_bytes() == b"old"


WRITES_WITHOUT_END = """
import io, itertools, json, sys
from pathlib import Path
from PIL import Image
from gesso.core.files import write_atomically
from gesso.engine.naming import destination, write_picture
sys.path.insert(0, sys.argv[1])
from recipes import recipe
from gesso.core.settings import Settings
pictures = []
for seed in range(2):
    held = io.BytesIO()
    Image.effect_noise((512, 512), 90).save(held, "PNG")
    pictures.append(held.getvalue())
place = destination(Path("album"), Settings(), count=1, asked=None)
one = destination(Path("one.png"), Settings(), count=1, asked=None)
print("ready", flush=True)
for turn in itertools.count():
    write_picture(place, recipe(seed=turn), pictures[turn % 2], None)
    write_picture(one, recipe(seed=turn), pictures[turn % 2], None)
    write_atomically(Path("index.json"), json.dumps({"turn": turn, "filling": ["x" * 1000] * 500}).encode())
"""


@pytest.mark.rough(
    "killed",
    tried="kill -9 at random moments of a process that saves pictures and an index without end, eight times over",
    happens="every picture and the index are whole, no number is given twice, the next process goes on",
    told="nothing can be told",
)
def test_a_process_killed_at_any_moment_leaves_whole_files(repository: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    for turn in range(8):
        command = [sys.executable, "-c", WRITES_WITHOUT_END, str(repository / "tests")]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == b"ready\n"
            time.sleep(0.02 + turn * 0.013)
            running.kill()
    saved = [path for path in [*Path("album").iterdir(), Path("one.png")] if path.suffix == ".png"]
    assert len(saved) > 8
    for path in saved:
        with Image.open(path) as image:
            image.load()
    numbers = Counter(path.name.partition("-")[0] for path in Path("album").glob("*.png"))
    assert sorted(numbers) == [f"{number:05d}" for number in range(len(numbers))]
    assert set(numbers.values()) == {1}
    assert json.loads(Path("index.json").read_bytes())["turn"] >= 0
    assert {Path(name).suffix for name in files_below(".")} <= {".png", ".json", ".part"}


@pytest.mark.rough(
    "killed",
    tried="what a journal is left with by a crash: a half entry, an empty one, a `.part` of a killed writer",
    happens="the job goes on from the whole entries, gives the same bytes, and cleans the journal up",
    told="nothing is said",
)
@pytest.mark.parametrize("kept", [0, 0.5])
def test_a_journal_with_a_half_entry_is_gone_on_with(kept: float, tmp_path: Path) -> None:
    journal = RequestJournal(tmp_path / "journal")
    with studios.studio() as studio:
        whole = studio.submit(quick(steps=6), journal=journal.folder).result(60)
        entries = sorted((journal.folder / "00000").glob("*.safetensors"))
        half = entries[4]
        half.write_bytes(half.read_bytes()[: int(half.stat().st_size * kept)])
        (journal.folder / "00000" / ".0123456789abcdef.part").write_bytes(b"x")
        (journal.folder / ".0123456789abcdef.part").write_bytes(b"x")
        resumed = studio.submit(quick(steps=6), journal=journal.folder).result(60)
    assert resumed.images[0].tobytes() == whole.images[0].tobytes()
    computed, all_of_them = (result.recipes[0].run.metering.forwards for result in (resumed, whole))
    assert 0 < computed < all_of_them
    journal.discard()
    assert not journal.folder.exists()


# --- disks that fill up and folders that vanish


@pytest.mark.rough(
    "disks",
    tried="the disk of the journal fills up in the middle of a picture; room is made; the same command again",
    happens="the request ends and is gone on with from where the room ended; the same bytes",
    told="exit 4: “No room left on the disk for …”",
)
def test_a_journal_whose_disk_fills_up_is_gone_on_with(tmp_path: Path) -> None:
    with studios.studio() as studio, disks.small_disk(tmp_path / "disk", kib=300) as mounted:
        if not mounted:
            pytest.skip("no right to mount a small disk")
        ballast = tmp_path / "disk" / "ballast"
        ballast.write_bytes(b"x" * 200 * 1024)
        whole = studio.submit(quick(steps=9)).result(60)
        with pytest.raises(StorageError, match="No room left") as caught:
            studio.submit(quick(steps=9), journal=tmp_path / "disk" / "journal").result(60)
        assert caught.value.hint == "free some space"
        kept = len(list((tmp_path / "disk/journal/00000").glob("*.safetensors")))
        assert kept
        ballast.unlink()
        resumed = studio.submit(quick(steps=9), journal=tmp_path / "disk" / "journal").result(60)
    assert resumed.images[0].tobytes() == whole.images[0].tobytes()
    assert resumed.recipes[0].run.metering.forwards <= whole.recipes[0].run.metering.forwards - kept + 1


@contextmanager
def during_the_picture(act: Callable[[], None]) -> Iterator[Callable[[Any], None]]:
    """A listener that calls `act` once, at the second step."""
    acted = threading.Event()

    def listen(event: Any) -> None:
        if event.kind == "step-completed" and event.completed >= 2 and not acted.is_set():
            act()
            acted.set()

    yield listen
    assert acted.is_set()


@pytest.mark.rough(
    "disks",
    tried="the journal's folder, and the cache's, vanish in the middle of a picture",
    happens="the picture is made all the same, with the same bytes",
    told="nothing is said",
)
def test_a_journal_and_a_cache_that_vanish_cost_no_picture(tmp_path: Path) -> None:
    folders = [tmp_path / "journal", tmp_path / "cache"]

    def vanish() -> None:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    with studios.studio(cache_folder=tmp_path / "cache") as studio:
        expected = studio.submit(quick(steps=40)).result(60).images[0]
        with during_the_picture(vanish) as listener:
            made = studio.submit(quick(steps=40), journal=tmp_path / "journal", listener=listener).result(60)
    assert made.images[0].tobytes() == expected.tobytes()


@pytest.mark.rough(
    "disks",
    tried="no file can be opened any more (`ulimit -n` reached) when a picture is saved",
    happens="nothing is left behind; saved again later, it is whole",
    told="exit 4: “… could not be written: Too many open files”",
)
def test_running_out_of_descriptors_leaves_nothing(tmp_path: Path) -> None:
    with studios.studio() as studio:
        result = studio.submit(quick()).result(60)
    result.save(tmp_path / "before.png")  # what is imported for it is there now
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limit[1]))
    try:
        with pytest.raises(StorageError) as caught:
            result.save(tmp_path / "album")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert "Too many open files" in caught.value.message
    assert files_below(tmp_path) == ["before.png"]
    assert len(result.save(tmp_path / "album")) == 1


# --- several processes

READS = """
import sys
from pathlib import Path
from gesso.models.folder import describe
from gesso.models.identity import Identities
for name in sys.argv[2:]:
    print(Identities(Path(sys.argv[1])).digest(describe(Path(name))))
"""


@pytest.mark.rough(
    "crowds",
    tried="four processes that write the cache of digests at once",
    happens="each has the right digests; the cache is whole, and what one of them lost is read again",
    told="nothing is said",
)
def test_processes_that_write_the_cache_at_once_leave_it_whole(tmp_path: Path) -> None:
    models = [shutil.copytree(zoo.saved("sd1"), tmp_path / f"model{number}") for number in range(6)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", READS, str(tmp_path / "cache"), *map(str, models)]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(4)]
    said = {process.communicate(timeout=60)[0] for process in running}
    expected = Identities(tmp_path / "another").digest(describe(models[0]))
    assert said == {f"{expected}\n".encode() * 6}
    assert json.loads((tmp_path / "cache" / CACHE_FILE).read_bytes())
    assert files_below(tmp_path / "cache") == [CACHE_FILE]


@pytest.mark.rough(
    "crowds",
    tried="two studios given the same journal at once",
    happens="both make the picture, with the same bytes; neither fails",
    told="nothing is said",
)
def test_two_studios_with_one_journal_make_the_same_picture(tmp_path: Path) -> None:
    with studios.studio() as one, studios.studio() as other:
        handles = [each.submit(quick(steps=12), journal=tmp_path / "journal") for each in (one, other)]
        first, second = (handle.result(60).images[0].tobytes() for handle in handles)
    assert first == second
    RequestJournal(tmp_path / "journal").discard()
    assert not (tmp_path / "journal").exists()


# --- models


@pytest.fixture(scope="module")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models of the same shape and with other weights."""
    folder = tmp_path_factory.mktemp("models")
    pipeline: Any = zoo.build("sd1")
    for module in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        for parameter in module.parameters():
            parameter.data.mul_(0.7)
    pipeline.save_pretrained(folder / "faded")
    shutil.copytree(zoo.saved("sd1"), folder / "plain")
    return {name: folder / name for name in ("plain", "faded")}


def put_in_place(model: Path, place: Path) -> None:
    """As a careful program copies: each file under another name first."""
    for path in sorted(model.rglob("*.safetensors")):
        temporary = place / "being-copied"
        shutil.copyfile(path, temporary)
        os.replace(temporary, place / path.relative_to(model))


@pytest.mark.rough(
    "models",
    tried="weights truncated in place, removed, or the whole folder gone, while their model paints",
    happens="who runs gets the right picture; who comes later is told; put back, it paints as before",
    told="exit 3, one line and a hint",
)
@pytest.mark.parametrize("harm", ["truncate", "remove", "folder"])
def test_a_model_that_is_harmed_in_use_paints_on(harm: str, tmp_path: Path) -> None:
    model = shutil.copytree(zoo.saved("sd1"), tmp_path / "model")
    weights = model / UNET_FILE

    def do_harm() -> None:
        match harm:
            case "truncate":
                os.truncate(weights, 1000)
            case "remove":
                weights.unlink()
            case _:
                model.rename(tmp_path / "elsewhere")

    request = quick(model=str(model), steps=16)
    with studios.studio() as studio:
        expected = studio.submit(quick(steps=16)).result(60).images[0]
        with during_the_picture(do_harm) as listener:
            made = studio.submit(request, listener=listener).result(60).images[0]
        assert made.tobytes() == expected.tobytes()
        with pytest.raises(ModelError) as caught:
            studio.submit(request).result(60)
        assert caught.value.hint
        if harm == "folder":
            (tmp_path / "elsewhere").rename(model)
        else:
            shutil.copyfile(zoo.saved("sd1") / UNET_FILE, weights)
        assert studio.submit(request).result(60).images[0].tobytes() == expected.tobytes()


@pytest.mark.rough(
    "models",
    tried="weights replaced file by file while they are read",
    happens="never a picture of the two models mixed: refused, and painted once the copy is complete",
    told="exit 3: “… was changed while it was being read”",
)
def test_a_model_replaced_while_it_is_read_is_never_mixed(
    two_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gesso.models import load as loading
    from gesso.models import network

    place = shutil.copytree(two_models["plain"], tmp_path / "model")
    load_network = network.load_network
    order: list[str] = []

    def replace_after_the_first(part: Any, *arguments: Any, **options: Any) -> Any:
        loaded = load_network(part, *arguments, **options)
        if not order:
            put_in_place(two_models["faded"], place)
        order.append(part.name)
        return loaded

    monkeypatch.setattr(loading, "load_network", replace_after_the_first)
    with studios.studio() as studio:
        with pytest.raises(ModelError, match="was changed while it was being read") as caught:
            studio.submit(quick(model=str(place))).result(60)
        assert caught.value.hint == "ask again once the whole model is in its place"
        assert len(order) > 1
        made = studio.submit(quick(model=str(place))).result(60).images[0]
        faded = studio.submit(quick(model=str(two_models["faded"]))).result(60).images[0]
        plain = studio.submit(quick(model=str(two_models["plain"]))).result(60).images[0]
    assert made.tobytes() == faded.tobytes() != plain.tobytes()
