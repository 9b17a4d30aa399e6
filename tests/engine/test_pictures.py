"""Pictures as files: what they carry, how they are named, and that nothing is half-written."""

import errno
import json
import logging
import os
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin

from gesso.core.errors import InputError, SettingsError, StorageError
from gesso.core.recipe import Recipe
from gesso.core.requests import OutputFormat
from gesso.core.settings import Settings
from gesso.engine.infotext import parse, write
from gesso.engine.pictures import compared_pixels, encode, pixels_sha256, read_recipe, save, sidecar, sidecar_path
from recipes import long_trace, recipe

FORMATS = list(OutputFormat)
SUFFIX = {OutputFormat.PNG: ".png", OutputFormat.JPEG: ".jpg", OutputFormat.WEBP: ".webp"}
NASTY = 'a "cat", {x}: y\nsecond: line, 🎨 é 猫 \\n <lora:a:1>'


def picture(width: int = 24, height: int = 16, seed: int = 0) -> Image.Image:
    """Soft colours and hard edges."""
    values = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    values[: height // 2] = (200, 30, 30)
    return Image.fromarray(values)


def written(folder: Path, made: Recipe, output_format: OutputFormat) -> Path:
    path = folder / f"picture{SUFFIX[output_format]}"
    path.write_bytes(encode(picture(), made, output_format))
    beside = sidecar(made, output_format)
    if beside is not None:
        sidecar_path(path).write_bytes(beside)
    return path


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# --- what a picture carries


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("prompt", ["a cat", NASTY, "", "\0", "\u4100" * 500, "x" * 20_000])
def test_a_picture_gives_its_recipe_back(tmp_path: Path, output_format: OutputFormat, prompt: str) -> None:
    made = recipe(prompt=prompt, negative_prompt=prompt[::-1], trace=long_trace(40))
    read = read_recipe(written(tmp_path, made, output_format))
    assert read.problem is None
    assert read.recipe == made
    assert read.parameters == write(made)
    assert read.document == json.loads(made.to_json())


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_picture_is_an_ordinary_one_of_its_format(tmp_path: Path, output_format: OutputFormat) -> None:
    path = written(tmp_path, recipe(), output_format)
    with Image.open(path) as image:
        assert image.format == output_format.name
        assert image.size == (24, 16)
        distance = np.abs(np.asarray(image.convert("RGB"), dtype=int) - np.asarray(picture(), dtype=int))
    assert distance[:7].max() <= (0 if output_format is OutputFormat.PNG else 8)  # the part of one colour


def test_other_tools_find_the_parameters_of_a_png(tmp_path: Path) -> None:
    for prompt, chunk in (("a cat", b"tEXtparameters\0a cat"), ("猫", b"iTXtparameters\0")):
        path = written(tmp_path, recipe(prompt=prompt), OutputFormat.PNG)
        assert chunk in path.read_bytes()
        with Image.open(path) as image:
            assert image.info["parameters"] == write(recipe(prompt=prompt))
            assert json.loads(image.info["gesso"])["schema"] == 1


@pytest.mark.parametrize("output_format", [OutputFormat.JPEG, OutputFormat.WEBP])
def test_other_tools_find_the_parameters_in_the_user_comment(tmp_path: Path, output_format: OutputFormat) -> None:
    with Image.open(written(tmp_path, recipe(prompt=NASTY), output_format)) as image:
        comment = image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]
    assert comment == b"UNICODE\0" + write(recipe(prompt=NASTY)).encode("utf-16-be")


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_recipe_of_more_than_a_megabyte_leaves_the_picture_readable(
    tmp_path: Path, output_format: OutputFormat
) -> None:
    made = recipe(trace=long_trace(12_000))
    assert len(made.to_json()) > 2**20
    path = written(tmp_path, made, output_format)
    assert read_recipe(path).recipe == made
    with Image.open(path) as image:
        image.load()


def test_a_recipe_too_long_for_a_jpeg_stands_beside_it_and_the_picture_says_so(tmp_path: Path) -> None:
    made = recipe(trace=long_trace(6_000))
    assert sidecar(recipe(trace=long_trace(100)), OutputFormat.JPEG) is None
    assert sidecar(made, OutputFormat.PNG) is None
    assert sidecar(made, OutputFormat.WEBP) is None
    path = written(tmp_path, made, OutputFormat.JPEG)
    assert path.stat().st_size < 70_000
    assert Recipe.model_validate_json(sidecar_path(path).read_bytes()) == made
    assert sidecar_path(path).name == "picture.jpg.gesso.json"
    read = read_recipe(path)
    assert (read.recipe, read.parameters) == (made, write(made))

    sidecar_path(path).write_bytes(recipe(seed=1).to_json().encode())
    read = read_recipe(path)
    assert read.recipe is None
    assert read.parameters == write(made)
    assert read.problem is not None
    assert "another picture" in read.problem

    sidecar_path(path).unlink()
    read = read_recipe(path)
    assert read.recipe is None
    assert read.problem is not None
    assert "picture.jpg.gesso.json" in read.problem


def test_prompts_too_long_for_a_jpeg_stand_beside_it_too(tmp_path: Path) -> None:
    prompt = "".join(chr(0x4E00 + (i * 7919) % 20_000) for i in range(20_000))
    made = recipe(prompt=prompt, negative_prompt=prompt[::-1])
    path = written(tmp_path, made, OutputFormat.JPEG)
    read = read_recipe(path)
    assert (read.recipe, read.parameters) == (made, write(made))
    with Image.open(path) as image:
        comment = image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]
    assert ".gesso.json" in comment[8:].decode("utf-16-be")
    sidecar_path(path).unlink()
    assert read_recipe(path).parameters is None


@hypothesis_settings(max_examples=40, deadline=None)
@given(prompt=st.text(st.characters(exclude_categories=("Cs",)), max_size=300), output_format=st.sampled_from(FORMATS))
def test_any_prompt_survives_any_format(
    tmp_path_factory: pytest.TempPathFactory, prompt: str, output_format: OutputFormat
) -> None:
    made = recipe(prompt=prompt)
    read = read_recipe(written(tmp_path_factory.mktemp("any"), made, output_format))
    assert read.recipe == made
    assert read.parameters is not None
    assert parse(read.parameters).prompt == parse(write(made)).prompt


# --- pictures of others, and broken ones


def test_a_picture_of_another_tool_gives_its_parameters_only(tmp_path: Path) -> None:
    text = "a cat\nSteps: 20, Sampler: Euler a, Seed: 1, Size: 8x8"
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", text)
    picture().save(tmp_path / "a.png", pnginfo=info)
    read = read_recipe(tmp_path / "a.png")
    assert (read.recipe, read.parameters, read.document, read.problem) == (None, text, None, None)


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + "a 猫\nSteps: 20, Seed: 1, Size: 8x8".encode("utf-16-be"),
        b"UNICODE\0" + "a 猫\nSteps: 20, Seed: 1, Size: 8x8".encode("utf-16-le"),
        b"UNICODE\0" + "a 猫\nSteps: 20, Seed: 1, Size: 8x8".encode("utf-16"),
        b"ASCII\0\0\0" + "a 猫\nSteps: 20, Seed: 1, Size: 8x8".encode(),
        "a 猫\nSteps: 20, Seed: 1, Size: 8x8".encode(),
    ],
)
@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_a_user_comment_is_read_in_whatever_encoding(tmp_path: Path, comment: bytes, suffix: str) -> None:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    picture().save(tmp_path / f"a{suffix}", exif=exif)
    assert read_recipe(tmp_path / f"a{suffix}").parameters == "a 猫\nSteps: 20, Seed: 1, Size: 8x8"


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_picture_without_anything_says_nothing(tmp_path: Path, output_format: OutputFormat) -> None:
    path = tmp_path / f"a{SUFFIX[output_format]}"
    picture().save(path)
    read = read_recipe(path)
    assert (read.recipe, read.parameters, read.document, read.problem) == (None, None, None, None)


def with_document(path: Path, document: str) -> Path:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a cat")
    info.add_itxt("gesso", document, zip=True)
    picture().save(path, pnginfo=info)
    return path


def test_a_recipe_of_a_newer_schema_is_kept_and_reported(tmp_path: Path) -> None:
    newer = json.loads(recipe().to_json()) | {"schema": 2, "more": [1]}
    read = read_recipe(with_document(tmp_path / "a.png", json.dumps(newer)))
    assert read.recipe is None
    assert read.document == newer
    assert read.parameters == "a cat"
    assert read.problem is not None
    assert "schema 2" in read.problem


def test_fields_that_a_newer_version_added_beside_the_request_are_kept(tmp_path: Path) -> None:
    document = json.loads(recipe().to_json())
    document["note"] = "x"
    document["run"]["weather"] = "fine"
    read = read_recipe(with_document(tmp_path / "a.png", json.dumps(document)))
    assert read.recipe is not None
    assert json.loads(read.recipe.to_json()) == document


def test_a_request_field_that_is_not_known_is_reported_not_ignored(tmp_path: Path) -> None:
    document = json.loads(recipe().to_json())
    document["resolved"]["frame"] = 0.5
    read = read_recipe(with_document(tmp_path / "a.png", json.dumps(document)))
    assert read.recipe is None
    assert read.document == document
    assert read.problem is not None
    assert "resolved.frame" in read.problem


@pytest.mark.parametrize(
    "document",
    [
        "not json",
        "[1, 2]",
        "{}",
        '{"schema": 1}',
        '{"schema": "x"}',
        "[" * 100_000,
        '{"schema": 1, "asked": 3}',
        "null",
    ],
)
def test_json_that_is_no_recipe_is_reported(tmp_path: Path, document: str) -> None:
    read = read_recipe(with_document(tmp_path / "a.png", document))
    assert read.recipe is None
    assert read.parameters == "a cat"
    assert read.problem is not None


def test_a_file_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    for path in (tmp_path / "no.png", tmp_path, tmp_path / "no" / "no.png"):
        with pytest.raises(InputError, match="could not be opened"):
            read_recipe(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"GIF89a" + bytes(20), b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]
)
def test_a_file_that_is_no_picture_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"is not a PNG, JPEG or WebP picture|damaged"):
        read_recipe(tmp_path / "a.png")


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.95])
def test_a_truncated_picture_is_one_clear_error(tmp_path: Path, output_format: OutputFormat, kept: float) -> None:
    path = written(tmp_path, recipe(), output_format)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InputError) as caught:
        read_recipe(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.rough(
    "pictures",
    tried="150 pictures of each format with three random bytes changed",
    happens="read or refused, nothing else",
    told="exit 3, one line and a hint",
)
@pytest.mark.filterwarnings("ignore")  # of Pillow, about the damage
@pytest.mark.parametrize("output_format", FORMATS)
def test_a_damaged_picture_is_read_or_refused_and_nothing_else(tmp_path: Path, output_format: OutputFormat) -> None:
    path = written(tmp_path, recipe(prompt=NASTY), output_format)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        data = bytearray(whole)
        for position in random.integers(0, len(data), 3):
            data[position] = int(random.integers(0, 256))
        path.write_bytes(data)
        try:
            read = read_recipe(path)
        except InputError:
            refused += 1
        else:
            assert read.recipe is None or read.recipe.resolved.prompt
    # A PNG has check sums throughout, but Pillow does not compare that of the pixels: their damage is left to `replay`.
    assert refused > (140 if output_format is OutputFormat.PNG else 0)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.rough(
    "pictures",
    tried="a picture that claims more pixels than are read",
    happens="refused before it is decoded",
    told="exit 3, one line and a hint",
)
@pytest.mark.parametrize("side", [10_000, 60_000])
@pytest.mark.parametrize("warnings", ["error", "ignore"])
def test_a_picture_that_claims_too_many_pixels_is_one_clear_error(
    tmp_path: Path, side: int, warnings: str, recwarn: pytest.WarningsRecorder
) -> None:
    import warnings as python_warnings

    (tmp_path / "a.png").write_bytes(png_header(side, side))
    with python_warnings.catch_warnings():
        python_warnings.simplefilter(warnings)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"claims .* pixels, and at most 89,478,485 are read"):
            read_recipe(tmp_path / "a.png")


def test_a_recipe_that_inflates_without_end_is_refused(tmp_path: Path) -> None:
    exif = Image.Exif()
    bomb = b"GESSO\0" + zlib.compress(bytes(80 * 2**20), 9)
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = bomb
    picture().save(tmp_path / "a.webp", exif=exif)
    read = read_recipe(tmp_path / "a.webp")
    assert read.recipe is None
    assert read.problem is not None
    assert "larger than any recipe" in read.problem


# --- pixels


def test_the_digest_is_that_of_the_rgb_bytes() -> None:
    assert pixels_sha256(picture()) == pixels_sha256(picture().convert("RGBA"))
    changed = picture()
    changed.putpixel((0, 0), (201, 30, 30))
    assert pixels_sha256(picture()) != pixels_sha256(changed)


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_file_shows_just_the_pixels_it_is_compared_by(tmp_path: Path, output_format: OutputFormat) -> None:
    path = written(tmp_path, recipe(), output_format)
    with Image.open(path) as file:
        shown = pixels_sha256(file)
    assert pixels_sha256(compared_pixels(picture(), output_format)) == shown
    # The file's own format counts, whatever the recipe says.
    assert pixels_sha256(compared_pixels(picture(), OutputFormat.PNG, path)) == shown
    assert pixels_sha256(compared_pixels(picture(seed=1), output_format)) != shown


# --- names


def album(folder: Path, **fields: Any) -> Settings:
    return Settings(output_folder=folder, **fields)


def day(made: Recipe) -> str:
    return datetime.fromisoformat(made.run.created).astimezone().date().isoformat()


def test_pictures_go_to_the_output_folder_by_date_number_and_seed(tmp_path: Path) -> None:
    made = [recipe(seed=7), recipe(seed=8, index=1)]
    first = save([picture(), picture()], made, settings=album(tmp_path))
    again = save([picture()], made[:1], settings=album(tmp_path))
    folder = tmp_path / day(made[0])
    assert [*first, *again] == [folder / "00000-7.png", folder / "00001-8.png", folder / "00002-7.png"]
    assert [read_recipe(path).recipe for path in first] == made


def test_the_number_goes_on_after_the_largest_there_is(tmp_path: Path) -> None:
    for name in ("00041-9.png", "00099-1.jpg", "123456-2.webp", "7.png", "00300.txt", "notes"):
        (tmp_path / name).touch()
    assert save([picture()], [recipe()], out=tmp_path, settings=album(tmp_path))[0].name == "123457-42.png"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("{seed}", ["42.png", "42-1.png", "42-2.png"]),
        ("{model}/{seed}-{number}", ["org-model/42-0.png", "org-model/42-1.png", "org-model/42-2.png"]),
        ("a/b/{index}_{number:03d} (x)", ["a/b/0_000 (x).png", "a/b/0_001 (x).png", "a/b/0_002 (x).png"]),
    ],
)
def test_the_pattern_is_settable_and_no_picture_replaces_another(
    tmp_path: Path, pattern: str, names: list[str]
) -> None:
    for name in names:
        (path,) = save([picture()], [recipe(model="org/model")], settings=album(tmp_path, output_pattern=pattern))
        assert path == tmp_path / name


@pytest.mark.parametrize("pattern", ["{number}/{seed}", "{date}/"])
def test_a_pattern_that_names_no_file_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(SettingsError, match="output_pattern"):
        save([picture()], [recipe()], settings=album(tmp_path, output_pattern=pattern))
    assert files_in(tmp_path) == []


def test_a_model_that_is_a_path_becomes_one_part_of_a_name(tmp_path: Path) -> None:
    (path,) = save(
        [picture()], [recipe(model="../../etc/pass:wd")], settings=album(tmp_path, output_pattern="{model}-{number}")
    )
    assert path.parent == tmp_path
    assert path.name == "etc-pass-wd-0.png"


def test_a_folder_that_was_named_takes_the_pictures_itself(tmp_path: Path) -> None:
    (path,) = save([picture()], [recipe()], out=tmp_path / "new" / "place", settings=album(tmp_path / "unused"))
    assert path == tmp_path / "new" / "place" / "00000-42.png"
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize(
    ("name", "output_format"), [("a.png", "PNG"), ("a.JPG", "JPEG"), ("a.jpeg", "JPEG"), ("a.webp", "WEBP")]
)
def test_a_name_with_the_suffix_of_a_picture_is_a_file_of_that_format(
    tmp_path: Path, name: str, output_format: str
) -> None:
    (path,) = save([picture()], [recipe()], out=tmp_path / "x" / name, settings=album(tmp_path))
    assert path == tmp_path / "x" / name
    with Image.open(path) as image:
        assert image.format == output_format
    read = read_recipe(path).recipe
    assert read is not None
    assert read.resolved.output_format.name == output_format


def test_the_format_that_was_decided_gives_the_suffix(tmp_path: Path) -> None:
    (path,) = save([picture()], [recipe(output_format=OutputFormat.JPEG)], settings=album(tmp_path))
    assert path.suffix == ".jpg"
    with Image.open(path) as image:
        assert image.format == "JPEG"


def test_a_file_that_was_named_replaces_what_was_there_and_its_sidecar(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    long, short = recipe(seed=1, trace=long_trace(6_000)), recipe(seed=2)
    save([picture()], [long], out=path, settings=album(tmp_path))
    assert files_in(tmp_path) == ["a.jpg", "a.jpg.gesso.json"]
    save([picture()], [short], out=path, settings=album(tmp_path))
    assert files_in(tmp_path) == ["a.jpg"]
    read = read_recipe(path).recipe
    assert read is not None
    assert read.run.seed == 2


def test_a_sidecar_is_announced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = recipe(output_format=OutputFormat.JPEG, trace=long_trace(6_000))
    with caplog.at_level(logging.WARNING):
        (path,) = save([picture()], [made], settings=album(tmp_path))
    assert str(sidecar_path(path)) in caplog.text
    assert read_recipe(path).recipe == made


def test_many_pictures_and_one_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 pictures cannot go to one file"):
        save([picture()] * 2, [recipe()] * 2, out=tmp_path / "a.png", settings=album(tmp_path))
    assert files_in(tmp_path) == []


def test_a_suffix_that_is_not_the_format_asked_for_is_refused(tmp_path: Path) -> None:
    asked = recipe(asked={"output_format": "jpeg"}, output_format=OutputFormat.JPEG)
    with pytest.raises(InputError, match=r"Asked for jpeg in .*a\.png"):
        save([picture()], [asked], out=tmp_path / "a.png", settings=album(tmp_path))
    assert save([picture()], [asked], out=tmp_path / "a.jpeg", settings=album(tmp_path))


@pytest.mark.parametrize("name", ["a.gif", "a.TIFF", "a.avif"])
def test_a_suffix_of_a_format_that_is_not_written_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="not written"):
        save([picture()], [recipe()], out=tmp_path / name, settings=album(tmp_path))


def test_a_name_with_a_dot_is_a_folder_all_the_same(tmp_path: Path) -> None:
    (path,) = save([picture()], [recipe()], out=tmp_path / "v1.5", settings=album(tmp_path))
    assert path.parent == tmp_path / "v1.5"


# --- company


SAVES = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from recipes import recipe
from PIL import Image
from gesso.core.settings import Settings
from gesso.engine.pictures import save
for seed in range(5):
    save([Image.new("RGB", (64, 64))], [recipe(seed={worker} + seed)], out=Path({folder!r}), settings=Settings())
"""


def numbers_in(folder: Path) -> list[int]:
    for path in folder.iterdir():
        assert read_recipe(path).recipe is not None
    return sorted(int(name.split("-")[0]) for name in files_in(folder))


def test_no_number_is_given_twice_among_threads(tmp_path: Path) -> None:
    def save_some(worker: int) -> None:
        for seed in range(5):
            save([picture()], [recipe(seed=100 * worker + seed)], out=tmp_path, settings=Settings())

    with ThreadPoolExecutor(max_workers=6) as threads:
        list(threads.map(save_some, range(6)))
    assert numbers_in(tmp_path) == list(range(30))


@pytest.mark.rough(
    "crowds",
    tried="several processes that save into one folder at once",
    happens="every picture has a number of its own",
    told="nothing is said",
)
def test_no_number_is_given_twice_among_processes(tmp_path: Path, repository: Path) -> None:
    tests = str(repository / "tests")
    codes = [SAVES.format(tests=tests, worker=100 * worker, folder=str(tmp_path)) for worker in range(4)]
    processes = [subprocess.Popen([sys.executable, "-c", code]) for code in codes]
    assert [process.wait() for process in processes] == [0] * 4
    assert numbers_in(tmp_path) == list(range(20))


def test_a_name_that_is_taken_meanwhile_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "00000-42.png").write_bytes(b"mine")
    monkeypatch.setattr("gesso.engine.naming._next_number", lambda folder, pattern: 0)
    (path,) = save([picture()], [recipe()], out=tmp_path, settings=Settings())
    assert path.name == "00001-42.png"
    assert (tmp_path / "00000-42.png").read_bytes() == b"mine"


@pytest.mark.rough(
    "disks",
    tried="a disk without hard links",
    happens="no picture replaces another",
    told="nothing is said",
)
def test_a_disk_without_hard_links_works_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    settings = album(tmp_path, output_pattern="{seed}")
    assert [save([picture()], [recipe()], settings=settings)[0].name for _ in range(3)] == [
        "42.png",
        "42-1.png",
        "42-2.png",
    ]
    assert len(files_in(tmp_path)) == 3


# --- what can go wrong with a disk


@pytest.mark.parametrize("output_format", [OutputFormat.PNG, OutputFormat.JPEG])
@pytest.mark.parametrize("call", ["fsync", "fdopen", "link"])
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, output_format: OutputFormat
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    made = recipe(output_format=output_format, trace=long_trace(6_000))
    monkeypatch.setattr(os, call, full)
    if call == "link":
        monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="No room left"):
        save([picture()], [made], out=tmp_path / "new" / "folder", settings=Settings())
    monkeypatch.undo()
    assert files_in(tmp_path) == []


@pytest.mark.rough(
    "disks",
    tried="no room for the recipe that stands beside a JPEG",
    happens="the picture is not left without it",
    told="exit 4, one line and a hint",
)
def test_a_picture_whose_sidecar_does_not_fit_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.fsync
    made = recipe(output_format=OutputFormat.JPEG, trace=long_trace(6_000))

    def full_after_the_picture(handle: int) -> None:
        if any(tmp_path.rglob("*.jpg")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(handle)

    monkeypatch.setattr(os, "fsync", full_after_the_picture)
    with pytest.raises(StorageError, match="No room left"):
        save([picture()], [made], out=tmp_path / "new", settings=Settings())
    assert files_in(tmp_path) == []


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    try:
        with pytest.raises(StorageError, match="No room left"):
            save([picture(400, 400)], [recipe()], out=disk / "new", settings=Settings())
        assert files_in(disk) == []
        assert save([picture()], [recipe()], out=disk / "new", settings=Settings())
    finally:
        subprocess.run(["umount", str(disk)], check=True)


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from recipes import long_trace, recipe
from PIL import Image
from gesso.core.errors import StorageError
from gesso.core.settings import Settings
from gesso.engine.pictures import save
made = recipe(trace=long_trace(500))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    save([Image.new("RGB", (64, 64))], [made], out=Path({folder!r}) / "new", settings=Settings())
except StorageError as error:
    sys.exit(0 if "could not be written" in error.message else 1)
sys.exit(2)
"""


@pytest.mark.rough(
    "disks",
    tried="`ulimit -f`: a file may not grow further",
    happens="nothing is left",
    told="exit 4, one line and a hint",
)
def test_a_file_that_may_not_grow_further_leaves_nothing(tmp_path: Path, repository: Path) -> None:
    code = LIMITED.format(tests=str(repository / "tests"), folder=str(tmp_path))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("where", ["below a file", "in proc", "a file as folder"])
def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("x")
    out = {
        "below a file": tmp_path / "file" / "x.png",
        "in proc": Path("/proc/x"),
        "a file as folder": tmp_path / "file",
    }
    with pytest.raises(StorageError) as caught:
        save([picture()], [recipe()], out=out[where], settings=Settings())
    assert str(out[where]) in caught.value.message or str(tmp_path / "file") in caught.value.message
    assert files_in(tmp_path) == ["file"]


@pytest.mark.rough(
    "disks",
    tried="a folder without the right to write, as an ordinary user",
    happens="nothing is made",
    told="exit 4, one line and a hint",
)
@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_one_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="may not be written"):
        save([picture()], [recipe()], out=tmp_path, settings=Settings())


def test_the_pictures_before_a_failure_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = os.fsync, []

    def full_at_the_third(handle: int) -> None:
        calls.append(handle)
        if sum(1 for path in tmp_path.iterdir() if path.suffix == ".png") == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(handle)

    monkeypatch.setattr(os, "fsync", full_at_the_third)
    with pytest.raises(StorageError):
        save([picture()] * 3, [recipe(seed=i) for i in range(3)], out=tmp_path, settings=Settings())
    assert files_in(tmp_path) == ["00000-0.png", "00001-1.png"]


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from recipes import recipe
from PIL import Image
from gesso.core.settings import Settings
from gesso.engine.pictures import save
original = os.fsync
def interrupted(handle):
    original(handle)
    os.kill(os.getpid(), signal.SIGINT)
os.fsync = interrupted
try:
    save([Image.new("RGB", (64, 64))], [recipe()], out=Path({folder!r}) / "new", settings=Settings())
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_ctrl_c_leaves_no_half_file(tmp_path: Path, repository: Path) -> None:
    code = INTERRUPTED.format(tests=str(repository / "tests"), folder=str(tmp_path))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 130
    assert files_in(tmp_path) == []


def test_new_files_have_the_rights_that_the_user_gives_new_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        (path,) = save([picture()], [recipe()], out=tmp_path, settings=Settings())
    finally:
        assert os.umask(before) == 0o027
    assert path.stat().st_mode & 0o777 == 0o640
