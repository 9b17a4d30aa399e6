"""How a picture that is given is read: turned as its camera says, laid on white, its colours kept in mind."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from pydantic import ValidationError

from effects import Effect
from gesso.core.requests import ImageRequest, Resize
from gesso.engine.edit.colours import with_colours_of
from gesso.engine.edit.fit import fitted
from gesso.engine.edit.source import read_mask, read_source


def test_a_photo_is_turned_as_its_camera_says(tmp_path: Path, effect: Effect) -> None:
    photo = Image.new("RGB", (40, 80), "red")
    photo.paste("blue", (0, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    photo.save(tmp_path / "photo.png", exif=exif)
    read = read_source(str(tmp_path / "photo.png")).image
    assert read.size == (80, 40)
    wrong = np.asarray(read) != np.asarray(photo.transpose(Image.Transpose.ROTATE_270))
    effect(
        "A photo is turned as its camera says: pixels that are not where they should be",
        int(wrong.sum()),
        most=0,
        on="files",
    )


def test_what_is_transparent_lies_on_white_and_of_a_mask_stays(tmp_path: Path, effect: Effect) -> None:
    glass = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    glass.paste((0, 0, 255, 0), (0, 0, 8, 4))
    glass.save(tmp_path / "glass.png")
    read, mask = (np.asarray(each(str(tmp_path / "glass.png")).image) for each in (read_source, read_mask))
    effect(
        "What is transparent of a picture lies on white: pixels that do not",
        int((read[:4] != 255).any(-1).sum() + (read[4:] != (255, 0, 0)).any(-1).sum()),
        most=0,
        on="files",
    )
    assert (mask[:4] == 0).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_a_picture_in_memory_is_read_as_its_file_is(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 4, 3), np.uint8)).convert(mode)
    assert in_memory(image).tobytes() == image.convert("RGB").tobytes()
    assert ImageRequest(image=tmp_path / "a.png").image == str(tmp_path / "a.png")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("mode", ["RGBa", "PA", "La"])
def test_what_is_transparent_in_memory_lies_on_white_in_any_mode(mode: str) -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    image = clear.convert("LA").convert("La") if mode == "La" else clear.convert("P" if mode == "PA" else mode)
    if mode == "PA":
        image = image.convert("PA")
        image.putalpha(0)
    assert image.mode == mode
    assert in_memory(image).getpixel((0, 0)) == (255, 255, 255)


def test_a_profile_that_cannot_be_used_in_memory_is_left_out() -> None:
    values = np.random.default_rng(0).integers(0, 256, (8, 8, 4), np.uint8)
    image = Image.fromarray(values, "CMYK")
    image.info["icc_profile"] = wide_gamut()  # of RGB
    assert in_memory(image).tobytes() == image.convert("RGB").tobytes()


def test_what_is_no_picture_in_memory_is_refused(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "half.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "half.png").read_bytes()[:900])
    with Image.open(tmp_path / "half.png") as half, pytest.raises(ValidationError, match="the picture is damaged"):
        in_memory(half)
    with pytest.raises(ValidationError, match="convert it to L or RGB"):
        in_memory(Image.fromarray(np.zeros((4, 4), np.float32)))


def in_memory(image: Image.Image) -> Image.Image:
    """What is read of a picture that is given as such."""
    given = ImageRequest(image=image).image  # pyright: ignore[reportArgumentType]
    assert isinstance(given, str)
    return read_source(given).image


def test_a_photo_in_memory_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 80), (120, 200, 80)).save(tmp_path / "photo.jpg", exif=exif, icc_profile=wide_gamut())
    with Image.open(tmp_path / "photo.jpg") as photo:
        given = ImageRequest(image=photo).image  # pyright: ignore[reportArgumentType]
    assert isinstance(given, str)
    memory, file = read_source(given).image, read_source(str(tmp_path / "photo.jpg")).image
    assert memory.size == (80, 40)
    assert memory.tobytes() == file.tobytes()


def test_each_way_to_another_shape_is_what_its_name_says(effect: Effect) -> None:
    wide = Image.new("RGB", (120, 60), "white")
    wide.paste("black", (40, 0, 80, 60))
    dark = {way: (np.asarray(fitted(wide, (60, 60), way)) < 128).all(-1).mean() for way in Resize}
    wanted = {Resize.STRETCH: 1 / 3, Resize.CROP: 2 / 3, Resize.FILL: 1 / 3}
    effect(
        "A wide picture stretched, cropped or filled to a square: largest error of the share that a bar in it takes",
        max(abs(dark[way] - share) for way, share in wanted.items()),
        most=0.03,
        on="files",
        pictures={"wide": wide, **{way.value: fitted(wide, (60, 60), way) for way in Resize}},
    )
    assert fitted(wide, (60, 60), Resize.FILL).getpixel((30, 2)) == (0, 0, 0)  # goes on as the edge is


def test_a_cast_of_colour_is_taken_back() -> None:
    values = np.random.default_rng(0).integers(60, 200, (32, 32, 1)).repeat(3, -1)
    source = Image.fromarray(values.astype(np.uint8))
    cast = Image.fromarray((values + np.array([50, 0, 0])).astype(np.uint8))
    means = np.asarray(with_colours_of(source, cast)).reshape(-1, 3).mean(0)
    assert means.max() - means.min() < 6


def wide_gamut() -> bytes:
    """An ICC profile like that of Adobe RGB: made of the file that Pillow makes for sRGB, with other primaries."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    colours = {
        b"rXYZ": (0.60974, 0.31111, 0.01947),
        b"gXYZ": (0.20528, 0.62567, 0.06087),
        b"bXYZ": (0.14919, 0.06322, 0.74457),
    }
    for number in range(struct.unpack_from(">I", profile, 128)[0]):
        name, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        if name in colours:
            struct.pack_into(">3i", profile, offset + 8, *(round(value * 65536) for value in colours[name]))
    return bytes(profile)


def in_srgb(colour: tuple[int, int, int]) -> np.ndarray:
    """A colour of `wide_gamut` in sRGB, 0 to 255, by its primaries and the curve that both have (IEC 61966-2-1)."""
    values = np.array(colour) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    # Columns are the primaries, as profiles have them: adapted to the white D50.
    wide = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
    usual = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
    found = np.clip(np.linalg.solve(usual, wide @ linear), 0, 1)
    return 255 * np.where(found <= 0.0031308, found * 12.92, 1.055 * found ** (1 / 2.4) - 0.055)


def test_colours_are_those_that_the_profile_of_the_picture_means(tmp_path: Path, effect: Effect) -> None:
    colour, errors = (120, 180, 90), list[float]()
    for mode in ("RGB", "RGBA", "P"):
        path, plain = str(tmp_path / f"{mode}.png"), Image.new("RGB", (4, 4), colour)
        (plain.quantize() if mode == "P" else plain.convert(mode)).save(path, icc_profile=wide_gamut())
        errors.append(float(np.abs(np.asarray(read_source(path).image)[0, 0] - in_srgb(colour)).max()))
        assert read_mask(path).image.getpixel((0, 0)) == colour
    assert np.abs(in_srgb(colour) - colour).max() > 15
    effect(
        "The colours of a picture with a profile of a wider gamut are brought to sRGB: largest error of a value of 255",
        max(errors),
        most=2,
        on="files",
    )


def gray_profile() -> bytes:
    """An ICC profile of gray values by a power of 2.2, with the four tags that one must have."""
    d50 = struct.pack(">3i", *(round(value * 65536) for value in (0.9642, 1.0, 0.8249)))
    tags = {
        b"desc": b"desc" + struct.pack(">II", 0, 5) + b"gray\0" + bytes(78),
        b"wtpt": b"XYZ " + bytes(4) + d50,
        b"kTRC": b"curv" + struct.pack(">IIHH", 0, 1, round(2.2 * 256), 0),
        b"cprt": b"text" + bytes(4) + b"none" + bytes(4),
    }
    tags = {name: data + bytes(-len(data) % 4) for name, data in tags.items()}
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(data))
        body += data
    head = struct.pack(">I4sI", 128 + len(table) + len(body), b"lcms", 0x02400000) + b"mntrGRAYXYZ "
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + d50 + bytes(48)
    return head + table + body


@pytest.mark.parametrize("profile", [None, "gray", "sRGB"])
def test_gray_pictures_of_any_depth_are_read_alike_with_a_profile_of_gray_or_of_colours(
    profile: str | None, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    gray = Image.fromarray(values)
    usual = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    icc = {None: None, "gray": gray_profile(), "sRGB": usual}[profile]
    deep = values.astype(np.uint16) * 256 + (255 - values)  # its lower halves are others than the upper
    kinds = {"8": gray, "16": Image.fromarray(deep), "alpha": gray.convert("LA")}
    for name, image in kinds.items():
        image.save(tmp_path / f"{name}.png", icc_profile=icc)
    read = {name: read_source(str(tmp_path / f"{name}.png")) for name in kinds}
    assert [each.warnings for each in read.values()] == [()] * 3
    assert len({each.image.tobytes() for each in read.values()}) == 1
    apart = np.abs(np.asarray(read["8"].image.convert("L"), np.int16) - values).max()
    assert apart <= (12 if profile == "gray" else 0)  # the curve of sRGB is about a power of 2.2


def test_a_profile_of_gray_says_nothing_of_colours(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (120, 200, 80)).save(tmp_path / "one.png", icc_profile=gray_profile())
    read = read_source(str(tmp_path / "one.png"))
    assert read.image.getpixel((0, 0)) == (120, 200, 80)
    assert "cannot be used" in read.warnings[0]


def test_what_is_not_seen_of_a_picture_is_told(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert "first of the 2 pictures" in read_source(str(tmp_path / "moving.webp")).warnings[0]
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "glass.png")
    assert "lies on white" in read_source(str(tmp_path / "glass.png")).warnings[0]
    Image.new("RGBA", (4, 4), (255, 0, 0, 255)).save(tmp_path / "solid.png")
    assert not read_source(str(tmp_path / "solid.png")).warnings


def test_a_photo_with_a_profile_is_turned_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 80), (120, 200, 80)).save(tmp_path / "photo.jpg", exif=exif, icc_profile=wide_gamut())
    assert read_source(str(tmp_path / "photo.jpg")).image.size == (80, 40)


def test_the_bytes_of_a_picture_in_srgb_stay(tmp_path: Path, effect: Effect) -> None:
    values = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(values).save(tmp_path / "usual.png", icc_profile=profile)
    changed = np.asarray(read_source(str(tmp_path / "usual.png")).image) != values
    effect("A picture whose profile is sRGB's: values that reading it changes", int(changed.sum()), most=0, on="files")


@pytest.mark.rough(
    "pictures",
    tried="a picture whose colour profile is damaged, as input",
    happens="its colours are taken for sRGB",
    told="a warning that names the file",
)
@pytest.mark.parametrize("profile", [b"none", wide_gamut()[:200], wide_gamut().replace(b"RGB XYZ", b"GRAYXYZ")])
def test_a_damaged_profile_is_one_warning(profile: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.new("RGB", (64, 64), (120, 200, 80)).save(path, icc_profile=profile)
    read = read_source(str(path))
    assert read.image.getpixel((0, 0)) == (120, 200, 80)
    assert read.warnings == (f"The colour profile of `{path}` cannot be used: its colours were taken for sRGB",)
    assert "\n" not in read.warnings[0]
