"""A job that was killed goes on where it was, from its journal."""

import subprocess
from pathlib import Path

import pytest

import studios
from gesso.core.errors import InputError
from gesso.core.requests import ImageRequest
from gesso.engine.replay import Verdict, replay
from gesso.engine.resume import RequestJournal

KILLED_AT = 6
DIES = f"""
import os, signal, sys
from pathlib import Path
from gesso import ImageRequest, Studio
studio = Studio()
handle = studio.submit(
    ImageRequest(prompt="a red circle", seed=3, steps=10, exact=sys.argv[2] == "exact"), journal=Path(sys.argv[1])
)
for event in handle.events():
    if event.kind == "step-completed" and event.completed == {KILLED_AT}:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def request(*, exact: bool, **fields: object) -> ImageRequest:
    return ImageRequest.model_validate({"prompt": "a red circle", "seed": 3, "steps": 10, "exact": exact} | fields)


@pytest.mark.rough(
    "killed",
    tried="kill -9 at step 6 of 10 of a request with a journal, exact and fast",
    happens="resumed: the same bytes, no finished call is computed again, the picture replays identical",
    told="nothing can be told",
)
@pytest.mark.parametrize("exact", [True, False])
def test_a_killed_job_goes_on_and_gives_the_same_picture(exact: bool, tmp_path: Path, forked_python: list[str]) -> None:
    folder = tmp_path / "journal"
    died = subprocess.run([*forked_python, "-c", DIES, str(folder), "exact" if exact else "fast"], check=False)
    assert died.returncode == -9
    kept = len(list((folder / "00000").glob("*.safetensors")))
    assert kept >= KILLED_AT - 1
    with studios.studio() as studio:
        uninterrupted = studio.submit(request(exact=exact)).result(60)
        resumed = studio.submit(request(exact=exact), journal=folder).result(60)
        path = resumed.save(tmp_path / "resumed.png")[0]
        assert replay(studio, path).verdict is Verdict.IDENTICAL
    computed, all_of_them = (result.recipes[0].run.metering.forwards for result in (resumed, uninterrupted))
    assert computed <= all_of_them - KILLED_AT + 1, "finished calls were computed again"
    assert resumed.images[0].tobytes() == uninterrupted.images[0].tobytes()


def test_a_journal_keeps_the_seed_that_was_drawn(tmp_path: Path) -> None:
    asked = ImageRequest(prompt="a red circle", steps=3)
    with studios.studio() as studio:
        first = studio.submit(asked, journal=tmp_path / "journal").result(60)
        second = studio.submit(asked, journal=tmp_path / "journal").result(60)
    assert first.recipes[0].run.seed == second.recipes[0].run.seed
    assert first.images[0].tobytes() == second.images[0].tobytes()


@pytest.mark.rough(
    "pictures",
    tried="a journal that was begun by another request",
    happens="refused, and left as it is",
    told="exit 3: “… was begun by another request”",
)
def test_a_journal_of_another_request_is_refused(tmp_path: Path) -> None:
    with studios.studio() as studio:
        studio.submit(request(exact=False, steps=2), journal=tmp_path / "journal").result(60)
        with pytest.raises(InputError, match="another request"):
            studio.submit(request(exact=False, steps=3), journal=tmp_path / "journal")


def test_pictures_that_were_saved_are_not_made_again(tmp_path: Path) -> None:
    asked = request(exact=False, steps=2, count=3)
    journal = RequestJournal(tmp_path / "journal")
    with studios.studio() as studio:
        result = studio.submit(asked, journal=journal.folder).result(60)
        for picture in result.pictures[:2]:
            path = tmp_path / f"{picture.index}.png"
            picture.image.save(path)
            journal.mark_saved(picture.index, path)
        again = studio.submit(asked, journal=journal.folder).result(60)
    assert [picture.index for picture in again.pictures] == [2]
    assert again.images[0].tobytes() == result.images[2].tobytes()
    journal.discard()
    assert not journal.folder.exists()
