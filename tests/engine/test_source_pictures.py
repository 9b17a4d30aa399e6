"""How a picture that is given is read: turned as its camera says, laid on white, its colours kept in mind."""

from pathlib import Path

import numpy as np
from PIL import Image

from gesso.core.requests import Resize
from gesso.engine.edit.colours import with_colours_of
from gesso.engine.edit.fit import fitted
from gesso.engine.edit.source import read_mask, read_source


def test_a_photo_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    photo = Image.new("RGB", (40, 80), "red")
    photo.paste("blue", (0, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    photo.save(tmp_path / "photo.png", exif=exif)
    read = read_source(str(tmp_path / "photo.png")).image
    assert read.size == (80, 40)
    assert (read.getpixel((70, 20)), read.getpixel((5, 20))) == ((0, 0, 255), (255, 0, 0))


def test_what_is_transparent_lies_on_white_and_of_a_mask_stays(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "glass.png")
    assert read_source(str(tmp_path / "glass.png")).image.getpixel((0, 0)) == (255, 255, 255)
    assert read_mask(str(tmp_path / "glass.png")).image.getpixel((0, 0)) == (0, 0, 0)


def test_each_way_to_another_shape_is_what_its_name_says() -> None:
    wide = Image.new("RGB", (120, 60), "white")
    wide.paste("black", (40, 0, 80, 60))
    dark = {way: (np.asarray(fitted(wide, (60, 60), way)) < 128).all(-1).mean() for way in Resize}
    assert abs(dark[Resize.STRETCH] - 1 / 3) < 0.03
    assert abs(dark[Resize.CROP] - 2 / 3) < 0.03
    assert abs(dark[Resize.FILL] - 1 / 3) < 0.03
    assert fitted(wide, (60, 60), Resize.FILL).getpixel((30, 2)) == (0, 0, 0)  # goes on as the edge is


def test_a_cast_of_colour_is_taken_back() -> None:
    values = np.random.default_rng(0).integers(60, 200, (32, 32, 1)).repeat(3, -1)
    source = Image.fromarray(values.astype(np.uint8))
    cast = Image.fromarray((values + np.array([50, 0, 0])).astype(np.uint8))
    means = np.asarray(with_colours_of(source, cast)).reshape(-1, 3).mean(0)
    assert means.max() - means.min() < 6
