"""`gesso edit`, `gesso inpaint` and `gesso outpaint`: pictures as input, from the command line."""

from base64 import b64encode
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli_runs import Command, recipe_at
from effects import Effect
from gesso.engine.pictures import read_recipe

PROMPT = "a blue star on a white background"
FEW = ("--steps", 2, "--seed", 1)


@pytest.fixture
def source() -> Path:
    """128x128 px: a red square."""
    picture = Image.new("RGB", (128, 128), (240, 240, 240))
    picture.paste("red", (40, 40, 88, 88))
    picture.save("source.png")
    return Path("source.png").absolute()


@pytest.fixture
def mask() -> Path:
    """Its right half."""
    drawn = Image.new("L", (128, 128))
    drawn.paste(255, (64, 0, 128, 128))
    drawn.save("mask.png")
    return Path("mask.png").absolute()


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_a_picture_is_edited_in_a_part_and_beyond_its_sides(command: Command, source: Path, mask: Path) -> None:
    edited = command("edit", source, PROMPT, "--strength", 0.5, *FEW, "--out", "edited.png")
    assert edited.code == 0, edited.err
    recipe = read_recipe(edited.paths[0]).recipe
    assert recipe is not None
    assert recipe.resolved.image is not None
    assert (recipe.resolved.image.source, recipe.resolved.strength) == (str(source), 0.5)
    inpainted = command("inpaint", source, PROMPT, "--mask", mask, *FEW, "--out", "part.png")
    assert inpainted.code == 0, inpainted.err
    same = (pixels(source) == pixels(Path("part.png"))).all(-1)
    assert same[:, :64].all()
    assert not same[:, 64:].all()
    outpainted = command("outpaint", source, PROMPT, "--right", 16, *FEW, "--out", "wider.png")
    assert outpainted.code == 0, outpainted.err
    assert pixels(Path("wider.png")).shape == (128, 144, 3)
    assert (pixels(Path("wider.png"))[:, :128] == pixels(source)).all()


def test_a_picture_may_be_given_in_a_url(command: Command, source: Path, mask: Path) -> None:
    picture, drawn = (f"data:image/png;base64,{b64encode(path.read_bytes()).decode()}" for path in (source, mask))
    ran = command("inpaint", picture, PROMPT, "--mask", drawn, *FEW, "--out", "part.png")
    assert ran.code == 0, ran.err
    assert (pixels(source) == pixels(Path("part.png"))).all(-1)[:, :64].all()
    refused = command("edit", picture.replace("data:", "date:"), PROMPT)
    assert refused.code == 3
    assert "is not there" in refused.err
    assert len(refused.err) < 500


def test_each_picture_of_a_folder_is_edited(command: Command, source: Path, effect: Effect) -> None:
    folder = Path("photos")
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(source.read_bytes())
    (folder / "notes.txt").write_text("things to buy")
    (folder / "0.png").write_bytes(source.read_bytes()[:120])
    ran = command("edit", folder, PROMPT, "--strength", 0.5, *FEW)
    assert ran.code == 3
    assert "0.png` is a damaged picture" in ran.err
    assert "Of 3 pictures 1 failed" in ran.err
    told = [line.split("\t") for line in ran.out.splitlines()]
    assert [Path(begun).name for _, begun in told] == ["a.png", "b.png"]
    effect("Of a folder of two pictures, a text and a damaged picture: pictures that are edited", len(told), least=2)
    for made, begun in told:
        image = recipe_at(made).resolved.image
        assert image is not None
        assert image.source == str(Path(begun).absolute())


def test_what_is_not_said_again_of_a_mask_is_that_of_the_picture(command: Command, source: Path, mask: Path) -> None:
    said = ("--mask-blur", 2, "--soft-mask", "--only-masked", "--padding", 0, "--fill", "blur", "--no-keep-outside")
    command("inpaint", source, PROMPT, "--mask", mask, *said, *FEW, "--out", "first.png")
    Image.new("L", (128, 128), 255).save("other.png")
    cases: list[tuple[tuple[object, ...], set[str]]] = [
        (("--mask", "other.png"), {"mask"}),
        (("--mask-blur", 5), {"blur"}),
        (("--fill", "original", "--keep-outside"), {"fill", "keep_outside"}),
        (("--no-soft-mask", "--invert-mask"), {"soft", "invert"}),
        (("--no-only-masked",), {"only_masked", "padding"}),
        (("--no-only-masked", "--padding", 0), {"only_masked"}),
    ]
    for changes, wanted in cases:
        ran = command("generate", "--from", "first.png", *changes, "--out", "again.png")
        assert ran.code == 0, ran.err
        before, after = (recipe_at(name).resolved.inpaint for name in ("first.png", "again.png"))
        assert before is not None
        assert after is not None
        assert (before.padding, before.soft, before.only_masked) == (0, True, True)
        assert {name for name, value in before if getattr(after, name) != value} == wanted


@pytest.mark.rough(
    "pictures",
    tried="a mask of another size, a renamed text file, half a picture, a folder without pictures as input; strength 7",
    happens="refused before any network runs",
    told="one line: what was asked, what was found, what to do",
)
@pytest.mark.parametrize(
    ("command_line", "words", "code"),
    [
        (("inpaint", "source.png", PROMPT, "--mask", "small.png"), "The mask is 64x64 px, the picture 128x128", 3),
        (("inpaint", "source.png", PROMPT, "--mask", "renamed.png"), "is not a PNG, JPEG or WebP picture", 3),
        (("inpaint", "source.png", PROMPT), "There is no mask", 2),
        (("edit", "renamed.png", PROMPT), "is not a PNG, JPEG or WebP picture", 3),
        (("edit", "half.png", PROMPT), "is a damaged picture", 3),
        (("edit", "nowhere.png", PROMPT), "is not there", 3),
        (("edit", "empty", PROMPT), "empty", 3),
        (("edit", "source.png"), "the words stand behind the picture", 2),
        (("edit", "photos", PROMPT, "--strength", 7), "strength 7", 3),
        (("edit", "photos", PROMPT, "--model", "somebody/nothing"), "somebody/nothing", 3),
        (("edit", "source.png", PROMPT, "--strength", 7), "strength 7", 3),
        (("edit", "source.png", PROMPT, "--style", "oil"), "Unknown style: `oil`", 3),
        (("outpaint", "source.png", PROMPT), "Nothing is added to a side", 2),
        (("edit", "", PROMPT), "The path of the picture is empty", 2),
        (("upscale", ""), "The path of the picture is empty", 2),
        (("inpaint", "source.png", PROMPT, "--mask", ""), "The path of the mask is empty", 2),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    command: Command, source: Path, command_line: tuple[object, ...], words: str, code: int
) -> None:
    Image.new("L", (64, 64), 255).save("small.png")
    Path("renamed.png").write_text("a list of things to buy")
    Path("half.png").write_bytes(source.read_bytes()[:120])
    Path("empty").mkdir()
    Path("photos").mkdir()
    Path("photos/a.png").write_bytes(source.read_bytes())
    ran = command(*command_line)
    assert ran.code == code, ran.err
    assert words in ran.err
    assert ran.out == ""
    assert len(ran.err.strip().splitlines()) <= 2  # the line and its hint


def test_a_part_and_what_is_beyond_are_asked_for_whatever_the_picture_of_from_was(
    command: Command, source: Path, mask: Path
) -> None:
    assert command("generate", PROMPT, *FEW, "--out", "plain.png").code == 0
    assert command("inpaint", source, PROMPT, "--mask", mask, *FEW, "--out", "part.png").code == 0
    assert command("outpaint", source, PROMPT, "--right", 16, *FEW, "--out", "wider.png").code == 0
    for begun in ("plain.png", "wider.png"):
        ran = command("inpaint", source, PROMPT, "--from", begun)
        assert (ran.code, ran.out) == (2, "")
        assert "There is no mask" in ran.err
    for begun in ("plain.png", "part.png"):
        ran = command("outpaint", source, "--from", begun)
        assert (ran.code, ran.out) == (2, "")
        assert "Nothing is added to a side" in ran.err
    for again in (("inpaint", source, "--from", "part.png"), ("outpaint", source, "--from", "wider.png")):
        assert command(*again, "--out", "again.png").code == 0


def test_without_only_masked_the_padding_of_the_picture_goes_too(command: Command, source: Path, mask: Path) -> None:
    said = ("--only-masked", "--padding", 20)
    assert command("inpaint", source, PROMPT, "--mask", mask, *said, *FEW, "--out", "first.png").code == 0
    ran = command("generate", "--from", "first.png", "--no-only-masked", "--out", "again.png")
    assert ran.code == 0, ran.err
    inpaint = recipe_at("again.png").resolved.inpaint
    assert inpaint is not None
    assert (inpaint.only_masked, inpaint.padding) == (False, 32)
    ran = command("generate", "--from", "first.png", "--no-only-masked", "--padding", 20)
    assert "A padding of 20 px is around what is masked" in ran.err


@pytest.mark.rough(
    "pictures",
    tried="`--out` names the picture or the mask that it is made from, in another spelling, or as a link",
    happens="refused before any network runs, the file as it was",
    told="which file, and what to do",
)
def test_what_a_picture_is_made_from_is_not_replaced(command: Command, source: Path, mask: Path) -> None:
    Path("link.png").symlink_to(source)
    Path("folder").mkdir()
    before = source.read_bytes(), mask.read_bytes()
    masked = ("--mask", mask)
    assert command("inpaint", source, PROMPT, *masked, *FEW, "--out", "part.png").code == 0
    cases: list[tuple[tuple[object, ...], str]] = [
        (("edit", source, PROMPT), "source.png"),
        (("edit", "folder/../source.png", PROMPT), "./source.png"),
        (("edit", "link.png", PROMPT), "source.png"),
        (("generate", PROMPT, "--image", source), "link.png"),
        (("inpaint", source, PROMPT, *masked), "mask.png"),
        (("outpaint", source, PROMPT, "--left", 8), "source.png"),
        (("upscale", source), "source.png"),
        (("upscale", source, PROMPT), "source.png"),
        (("generate", "--from", "part.png"), "source.png"),
        (("generate", "--from", "part.png"), "mask.png"),
    ]
    for line, out in cases:
        ran = command(*line, "--out", out)
        assert (ran.code, ran.out) == (2, "")
        assert f"`--out {Path(out)}` would replace" in ran.err
        assert "give another `--out`" in ran.err
    assert (source.read_bytes(), mask.read_bytes()) == before
    assert command("generate", "--from", "part.png", "--out", "part.png").code == 0  # not what it is made from


def test_what_is_skipped_of_a_folder_or_fails_is_told(command: Command, source: Path) -> None:
    folder = Path("photos")
    folder.mkdir()
    (folder / "a.png").write_bytes(source.read_bytes())
    (folder / "b.png").write_bytes(source.read_bytes()[:120])
    (folder / "notes.txt").write_text("things to buy")
    for name in ("d.GIF", "f.bmp"):
        Image.new("RGB", (8, 8)).save(folder / name)
    skipped = "Skipped in `photos`, where only PNG, JPEG and WebP pictures are read: `d.GIF`, `f.bmp`"
    ran = command("edit", folder, PROMPT, "--json", *FEW)
    assert ran.code == 3
    assert ran.err.count(f"warning: {skipped}\n") == 1
    assert "notes.txt" not in ran.err
    assert ran.data["warnings"] == [skipped]
    assert [(Path(made["source"]).name, made["warnings"]) for made in ran.data["images"]] == [("a.png", [])]
    (failed,) = ran.data["failed"]
    assert failed["image"] == str(folder / "b.png")
    assert "is a damaged picture" in failed["error"]
    for name in "ghijkl":
        Image.new("RGB", (8, 8)).save(folder / f"{name}.tiff")
    assert "`i.tiff`, 3 more" in command("edit", folder, PROMPT, "--strength", 7).err
