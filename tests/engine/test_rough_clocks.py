"""Clocks on walls jump; what waits, names and remembers must not care."""

import os
import shutil
import time
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import count
from pathlib import Path

import pytest
from PIL import Image

import studios
import zoo
from gesso.core import clock
from gesso.core.errors import DeadlineError
from gesso.engine.pictures import read_recipe, save
from recipes import recipe
from rough import files_below, quick


class Jumping(datetime):
    """A clock that goes a year forward and two back, in turns, at every look."""

    looks = count()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        look = next(cls.looks)
        return datetime(2026, 6, 1, tzinfo=UTC) + timedelta(days=365 * (look if look % 2 else -2 * look) % 9000)


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the wall shows another year."""
    monkeypatch.setattr(clock, "datetime", Jumping)
    jumps = count()
    monkeypatch.setattr(time, "time", lambda: 1.7e9 + (-1) ** next(jumps) * 1e8)


@pytest.mark.rough(
    "clocks",
    tried="the wall clock jumps by years, forward and back, at every look while a request with a deadline runs",
    happens="done in time, deadlines ring when they should, events in order without gaps, the picture can be saved",
    told="nothing is said",
)
@pytest.mark.usefixtures("jumping")
def test_a_wall_clock_that_jumps_ends_no_request_and_delays_none(tmp_path: Path) -> None:
    with studios.studio() as studio:
        handle = studio.submit(quick(steps=8, deadline_seconds=60))
        result = handle.result(60)
        events = list(handle.events())
        begun = time.perf_counter()
        with pytest.raises(DeadlineError):
            studio.submit(quick(steps=900, deadline_seconds=0.3)).result(60)
        assert time.perf_counter() - begun < 10
        assert [event.sequence for event in events] == list(range(len(events)))
        assert len({event.time[:4] for event in events}) > 1, "the clock did not jump"
        (path,) = result.save(tmp_path)
    assert read_recipe(path).recipe == result.recipes[0]


@pytest.mark.rough(
    "clocks",
    tried="the clock goes back a day, and to 1970, between pictures",
    happens="each has the folder of its day, numbers go on there, no picture replaces another",
    told="nothing is said",
)
def test_pictures_made_before_yesterday_replace_none(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8))
    settings = studios.settings(output_folder=tmp_path)
    days = ["2026-11-21", "2026-11-20", "2026-11-21", "1970-01-02", "2026-11-20", "9999-12-30"]
    paths = [
        save([image], [recipe(seed=5, created=f"{day}T12:00:00+00:00")], settings=settings)[0].relative_to(tmp_path)
        for day in days
    ]
    assert [path.parts[0] for path in paths] == days
    assert [path.name[:5] for path in paths] == ["00000", "00000", "00001", "00000", "00001", "00000"]
    assert files_below(tmp_path) == sorted(map(str, paths))


@pytest.mark.rough(
    "clocks",
    tried="weights from the future and from 1970; replaced by older ones",
    happens="another time, older or newer, is another file: read anew, with its own digest",
    told="nothing is said",
)
def test_a_model_replaced_by_an_older_one_is_read_anew(tmp_path: Path) -> None:
    model = shutil.copytree(zoo.saved("sd1"), tmp_path / "model")
    weights = model / "unet/diffusion_pytorch_model.safetensors"
    os.utime(weights, (4e9, 4e9))
    with studios.studio(cache_folder=tmp_path / "cache") as studio:
        first = studio.submit(quick(model=str(model))).result(60)
        content = bytearray(weights.read_bytes())
        content[-64:] = bytes(64)
        weights.write_bytes(content)
        os.utime(weights, (1.0, 1.0))
        second = studio.submit(quick(model=str(model))).result(60)
    digests = [result.recipes[0].run.fingerprint.weights for result in (first, second)]
    assert digests[0] != digests[1]
    assert first.images[0].tobytes() != second.images[0].tobytes()
