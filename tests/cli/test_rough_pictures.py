"""Pictures that somebody made to do harm, at the three commands that read pictures."""

import base64
import io
import resource
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from cli_runs import Command

if sys.platform == "win32":
    pytest.skip("limits of POSIX", allow_module_level=True)

BOMB = zlib.compress(b"a" * 2**28, 9)
PAIRS = b"x\nSteps: 2, Seed: 1, Sampler: Euler, "


def png() -> bytes:
    held = io.BytesIO()
    Image.effect_noise((64, 64), 60).save(held, "PNG")
    return held.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(*chunks: bytes) -> Callable[[], bytes]:
    """A picture with `chunks` before its pixels."""

    def made() -> bytes:
        whole = png()
        return whole[:33] + b"".join(chunks) + whole[33:]  # behind the signature and the header

    return made


def text(key: bytes, value: bytes) -> bytes:
    return chunk(b"iTXt", key + b"\0\0\0\0\0" + value)


def claiming(width: int, height: int) -> Callable[[], bytes]:
    def made() -> bytes:
        whole = png()
        header = struct.pack(">II", width, height) + whole[24:29]
        return whole[:8] + chunk(b"IHDR", header) + whole[33:]

    return made


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a zTXt of 256 MiB": (with_chunks(chunk(b"zTXt", b"parameters\0\0" + BOMB)), "damaged picture: Decompressed data"),
    "an iTXt of 256 MiB": (with_chunks(chunk(b"iTXt", b"gesso\0\1\0\0\0" + BOMB)), "damaged picture: Decompressed"),
    "80 texts of a megabyte": (
        with_chunks(*(chunk(b"zTXt", b"k%d\0\0" % n + zlib.compress(bytes(10**6))) for n in range(80))),
        "Too much memory used in text",
    ),
    "a packed recipe of 256 MiB": (
        with_chunks(text(b"gesso", base64.b64encode(b"GESSO\0" + BOMB))),
        "larger than any recipe",
    ),
    "100,000 texts": (with_chunks(*(chunk(b"tEXt", b"k%d\0v" % n) for n in range(100_000))), "does not say how"),
    "half a million brackets": (with_chunks(text(b"gesso", b"[" * 500_000)), "recursion"),
    "a number of 100,000 digits": (with_chunks(text(b"gesso", b'{"schema":' + b"9" * 100_000 + b"}")), "digits"),
    "a recipe that is not JSON": (with_chunks(text(b"gesso", b"{")), "is not JSON"),
    "a recipe of NaN": (with_chunks(text(b"gesso", b'{"schema": NaN}')), "is not understood"),
    "text that is not UTF-8": (with_chunks(text(b"parameters", b"\xff\xfe\x80")), "does not say how"),
    "2,147,483,647 pixels a side": (claiming(2**31 - 1, 2**31 - 1), "pixels"),
    "30,000 pixels a side": (claiming(30_000, 30_000), "and at most 89,478,485 are read"),
    "no pixels": (claiming(0, 0), "is not a PNG"),
    "half of it": (lambda: png()[:1500], "damaged"),
    "a wrong checksum": (lambda: png()[:60] + b"\0\0\0" + png()[63:], "damaged"),
    "nothing": (lambda: b"", "is not a PNG"),
}


@pytest.mark.rough(
    "pictures",
    tried="a PNG with 256 MiB in a zTXt, iTXt or packed recipe; 100,000 texts; half a million brackets; a number of "
    "100,000 digits; NaN; not UTF-8; cut; no bytes; 2³¹ pixels a side: `show`, `replay` and `--from`",
    happens="refused with less than 200 MB of memory and in a second; nothing is written",
    told="exit 3, one line and a hint",
)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_picture_is_refused(command: Command, name: str) -> None:
    make, words = HOSTILE[name]
    Path("x.png").write_bytes(png())
    command("replay", "x.png")  # what is imported for it is there now
    Path("x.png").write_bytes(make())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for arguments in (("show",), ("replay",), ("generate", "--from")):
        ran = command(*arguments, "x.png")
        assert (ran.code, ran.out) == (3, "")
        *warnings, error, hint = ran.err.splitlines()
        assert error.startswith("error: ")
        assert hint.startswith("hint: ")
        assert all(line.startswith("warning: ") for line in warnings)
        assert words in ran.err or (arguments == ("replay",) and "holds no recipe" in error)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    assert list(Path().iterdir()) == [Path("x.png")]


@pytest.mark.rough(
    "pictures",
    tried="`parameters` of other tools with 200,000 pairs, unclosed quotes, 100,000 blanks, a seed of 10,000 digits, "
    "a guidance of 1e999, a prompt of 30 million letters",
    happens="read in a second; what cannot be is named, before a model is loaded, and a prompt so long refused",
    told="a warning each, 20 at most; exit 3, one line and a hint",
)
@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (PAIRS + b"CFG scale: 1e999", "CFG scale `1e999` is not carried over"),
        (PAIRS + b"a:" * 200_000 + b", Steps: -1", "Steps `-1` is not carried over"),
        (PAIRS + b'a: "\\,' * 100_000 + b", CFG scale: -1", "CFG scale `-1` is not carried over"),
        (PAIRS + b", ".join(b"k%d: [1" % index for index in range(100_000)), "k0 `[1` is not carried over"),
        (PAIRS + b" " * 100_000 + b"!, Size: 7x7", "Size `7x7` is not carried over"),
        (
            b"x\nSteps: 2, Seed: " + b"9" * 10_000 + b", Sampler: brush, CFG scale: 3",
            "Sampler `brush` is not carried over",
        ),
        (b"x" * 30_000_000 + b"\nSteps: 2, Seed: 1, Sampler: Euler", "30,000,000 characters"),
    ],
    ids=["guidance", "pairs", "quotes", "brackets", "blanks", "seed", "prompt"],
)
def test_hostile_parameters_are_read_quickly(command: Command, parameters: bytes, words: str) -> None:
    Path("x.png").write_bytes(with_chunks(chunk(b"tEXt", b"parameters\0" + parameters))())
    assert command("show", "x.png").code == 0
    ran = command(
        "generate", "--from", "x.png", "--out", "new/a.png", *([] if "characters" in words else ["--model", "no"])
    )
    assert (ran.code, ran.out) == (3, "")
    *warnings, error, hint = ran.err.splitlines()
    assert words in ran.err
    assert len(warnings) <= 21
    assert all(line.startswith("warning: ") for line in warnings)
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    assert list(Path().iterdir()) == [Path("x.png")]
