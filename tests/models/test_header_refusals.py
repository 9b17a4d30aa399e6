"""Files that are cut off, lie or attack are refused by name, with nothing but a `ModelError`, and no code is run."""

import io
import json
import math
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gesso.core.errors import ExitCode, ModelError
from gesso.models.headers import pickles, torch_files
from gesso.models.headers.base import DamagedFileError, NotWeightsError, UntrustedFileError
from gesso.models.headers.read import read_weights_header
from gesso.models.recognition.recognise import recognise
from specimens import SPECIMENS
from specimens.base import write_gguf, write_safetensors

Entry = dict[str, Any]


def safetensors(header: Any, data: int) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(data)


def entry(begin: int, end: int, shape: list[int], dtype: str = "F32") -> Entry:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def torch_zip(description: bytes, **parts: bytes) -> bytes:
    """A zip as `torch.save` writes it, around any pickle."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("archive/data.pkl", description)
        for name, content in parts.items():
            archive.writestr(f"archive/data/{name}", content)
    return packed.getvalue()


def saved(value: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


class Attack:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch gesso-was-here",)


def zip_of(name: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, b"\x89PNG")
    return packed.getvalue()


def bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", saved_description())
        archive.writestr("archive/data/0", bytes(2**22))
    return packed.getvalue()


def saved_description() -> bytes:
    with zipfile.ZipFile(io.BytesIO(saved({"a": torch.zeros(4)}))) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


def laughs() -> bytes:
    """Lists of lists of lists: small on the disk, and without end for who walks through all of it."""
    lines: list[Any] = [0]
    for _ in range(64):
        lines = [lines, lines]
    return pickle.dumps(lines, protocol=2)


def circle() -> bytes:
    state: dict[str, Any] = {}
    state["state_dict"] = state
    return pickle.dumps(state, protocol=2)


REFUSED: dict[str, tuple[bytes, type[ModelError], str]] = {
    "empty": (b"", DamagedFileError, "is empty"),
    "header cut off": (
        safetensors({"a": entry(0, 8, [2])}, 0)[:30],
        ModelError,
        "is truncated: its header needs",
    ),
    "data cut off": (safetensors({"a": entry(0, 8, [2])}, 7), ModelError, "is truncated: "),
    "data too long": (safetensors({"a": entry(0, 8, [2])}, 9), ModelError, "is damaged: "),
    "only a length": ((80).to_bytes(8, "little"), ModelError, "is truncated: its header needs 88 bytes, found 8"),
    "offsets that lie": (safetensors({"a": entry(0, 12, [2])}, 12), ModelError, "has 12 bytes, its shape needs 8"),
    "tensors that overlap": (
        safetensors({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, 12),
        ModelError,
        "`b` in `{path}` overlaps the tensor before it",
    ),
    "a gap": (safetensors({"a": entry(0, 8, [2]), "b": entry(12, 20, [2])}, 20), ModelError, "leaves a gap"),
    "unknown dtype": (safetensors({"a": entry(0, 8, [2], "F31")}, 8), ModelError, "unknown dtype `F31`"),
    "a name twice": (
        safetensors(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{}}', 1),
        ModelError,
        "`a` is there twice",
    ),
    "negative size": (safetensors({"a": entry(0, 8, [-2])}, 8), ModelError, "whole numbers from 0"),
    "sizes without end": (safetensors({"a": entry(0, 8, [2**70])}, 8), ModelError, "whole numbers from 0"),
    "many dimensions": (safetensors({"a": entry(0, 1, [1] * 70, "U8")}, 1), ModelError, "70 dimensions"),
    "deep JSON": (safetensors(b'{"a":' + b"[" * 100_000, 0), ModelError, "header of `{path}` is damaged"),
    "no JSON": (safetensors(b"{'a'}", 0), ModelError, "header of `{path}` is damaged"),
    "a web page": (b"\n<!DOCTYPE html><html>Log in</html>", NotWeightsError, "is not a file of weights: a web page"),
    "an answer of a site": (
        b'{"error":"Access to model is restricted"}',
        NotWeightsError,
        "JSON text that says `Access to model is restricted`",
    ),
    "a config": (b'{"_class_name": "UNet2DConditionModel"}', NotWeightsError, "is not a file of weights: JSON text"),
    "a git-lfs pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        NotWeightsError,
        "a Git LFS pointer to them",
    ),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(20), NotWeightsError, "a PNG picture"),
    "something else": (b"once upon a time", NotWeightsError, "it begins with `6f 6e 63 65"),
    "a pickle that runs code": (
        torch_zip(pickle.dumps({"a": Attack()}, protocol=2)),
        UntrustedFileError,
        "names `{system}`, which weights do not need",
    ),
    "a pickle that runs code, new protocol": (
        torch_zip(pickle.dumps({"a": Attack()}, protocol=5)),
        UntrustedFileError,
        "names `{system}`",
    ),
    "a pickle that runs code, without a zip": (
        pickle.dumps({"a": Attack()}, protocol=2),
        UntrustedFileError,
        "names `{system}`",
    ),
    "an old instance": (
        torch_zip(b"\x80\x02(ios\nsystem\n."),
        UntrustedFileError,
        "names `os.system`",
    ),
    "a name in many parts": (
        torch_zip(b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93."),
        UntrustedFileError,
        "names `torch.os.system`",
    ),
    "a zip bomb": (bomb(), UntrustedFileError, "is a zip bomb or damaged: `archive/data/0` unpacks"),
    "a zip of pictures": (
        zip_of("a.png"),
        NotWeightsError,
        "a zip without `data.pkl`",
    ),
    "a zip cut off": (saved({"a": torch.zeros(100)})[:-50], DamagedFileError, "is truncated or damaged"),
    "a pickle cut off": (torch_zip(saved_description()[:-9]), DamagedFileError, "its pickle cannot be read"),
    "an old file cut off": (
        saved({"a": torch.zeros(100)}, _use_new_zipfile_serialization=False)[:-50],
        DamagedFileError,
        "is truncated: its tensors need",
    ),
    "a storage that is missing": (torch_zip(saved_description()), DamagedFileError, "is truncated: `a` needs 16 bytes"),
    "a storage that is short": (
        torch_zip(saved_description(), **{"0": bytes(15)}),
        DamagedFileError,
        "is truncated: `a` needs 16 bytes, found 15",
    ),
    "no tensors": (torch_zip(pickle.dumps({"a": 1}, protocol=2)), NotWeightsError, "a pickle without tensors"),
    "lists without end": (torch_zip(laughs()), NotWeightsError, "a pickle without tensors"),
    "a dict in itself": (torch_zip(circle()), NotWeightsError, "a pickle without tensors"),
    "a huge place in memory": (
        torch_zip(b"\x80\x02}r\xff\xff\xff\xff."),
        NotWeightsError,
        "a pickle without tensors",
    ),
    "keys that are hard to hash": (
        torch_zip(b"\x80\x02})" + b"\x85" * 200_000 + b"Ns."),
        NotWeightsError,
        "a pickle without tensors",
    ),
    "gguf of version 1": (b"GGUF" + struct.pack("<III", 1, 0, 0), DamagedFileError, "is GGUF of version 1"),
    "gguf cut off": (b"GGUF\x03", DamagedFileError, "is truncated or damaged"),
    "gguf of many tensors": (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), DamagedFileError, "announces"),
    "gguf with a long text": (
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62) + bytes(64),
        DamagedFileError,
        "a text of",
    ),
    "gguf with a long list": (
        b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"a", 9, 8, 2**40) + bytes(64),
        DamagedFileError,
        "a list of 1099511627776 items",
    ),
}


@pytest.mark.parametrize(("content", "error", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_or_must_not_be_is_refused_in_a_line(
    content: bytes, error: type[ModelError], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(error) as caught:
        read_weights_header(path)
    message = caught.value.message
    assert told.format(path=path, system=f"{os.system.__module__}.system") in message
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 500
    assert caught.value.hint
    assert caught.value.exit_code is ExitCode.INPUT
    assert os.listdir(tmp_path) == ["model.safetensors"]  # nothing was run


def test_a_description_longer_than_any_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_files, "MAX_PICKLE_BYTES", 100)
    (tmp_path / "a").write_bytes(saved({"a": torch.zeros(4)}))
    with pytest.raises(
        UntrustedFileError, match=r"bomb or damaged: `archive/data.pkl` is \d+ bytes long, at most 100 are read"
    ):
        read_weights_header(tmp_path / "a")


def test_work_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MAX_STEPS", 1000)
    (tmp_path / "a").write_bytes(torch_zip(b"\x80\x02" + b"N0" * 501 + b"N."))
    with pytest.raises(DamagedFileError, match="it takes more than 1,000 steps"):
        read_weights_header(tmp_path / "a")


def test_the_attack_would_work_if_it_were_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps({"a": Attack()}, protocol=2))
    assert os.listdir(tmp_path) == ["gesso-was-here"]


def test_folders_pipes_and_what_is_not_there_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, told in (("", "a folder"), ("pipe", "no plain file"), ("nothing", "no plain file")):
        with pytest.raises(NotWeightsError, match=told):
            read_weights_header(tmp_path / name)


def test_gguf_tensors_over_each_other_or_outside_are_refused(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a", {"first": (64,), "second": (64,)}, {})
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<IQ", 0, 256), struct.pack("<IQ", 0, 32)))
    with pytest.raises(DamagedFileError, match="`second` overlaps the tensor before it"):
        read_weights_header(path)
    path.write_bytes(content[:-1])
    with pytest.raises(DamagedFileError, match="is truncated: `second` ends at 512 of the data, found 511"):
        read_weights_header(path)


def test_all_lists_and_numbers_of_gguf_are_passed_over(tmp_path: Path) -> None:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    facts = [
        text("small") + struct.pack("<IB", 0, 7),
        text("share") + struct.pack("<If", 6, 0.5),
        text("numbers") + struct.pack("<IIQ3I", 9, 4, 3, 1, 2, 3),
        text("words") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("bc"),
        text("lists") + struct.pack("<IIQIQ", 9, 9, 1, 0, 2) + b"\x01\x02",
        text("last") + struct.pack("<I", 8) + text("word"),
    ]
    (tmp_path / "a").write_bytes(b"GGUF" + struct.pack("<IQQ", 2, 0, len(facts)) + b"".join(facts) + bytes(32))
    assert read_weights_header(tmp_path / "a").metadata == {
        "small": "7",
        "share": "0.5",
        "numbers": "3 items",
        "words": "2 items",
        "lists": "1 items",
        "last": "word",
    }


def test_reading_a_header_loads_no_torch_and_no_numpy(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "a")
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from gesso.models.headers.read import read_weights_header\n"
        "from gesso.models.recognition.recognise import recognise\n"
        "recognise(read_weights_header(Path(sys.argv[1])))\n"
        "print(sorted({'torch', 'numpy', 'safetensors', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program, tmp_path / "a"], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def read_or_refuse(path: Path) -> None:
    with suppress(ModelError):
        recognise(read_weights_header(path))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "file"


BEGINNINGS = (b"", b"PK\x03\x04", b"GGUF\x03\x00\x00\x00", b"\x80\x02", b"\x80\x04", (40).to_bytes(8, "little") + b"{")


@settings(
    max_examples=300, deadline=None
)  # a busy machine is no reason to fail; what hangs ends with the time-out of pytest
@given(beginning=st.sampled_from(BEGINNINGS), rest=st.binary(max_size=300))
def test_random_bytes_are_refused(scratch: Path, beginning: bytes, rest: bytes) -> None:
    scratch.write_bytes(beginning + rest)
    read_or_refuse(scratch)


def _templates() -> dict[str, bytes]:
    description = saved_description()
    return {
        "safetensors": safetensors({"a": entry(0, 8, [2]), "b": entry(8, 16, [1, 2]), "__metadata__": {"c": "d"}}, 16),
        "zip": saved({"state_dict": {"a": torch.zeros(4)}, "n": 1}),
        "description": description,
        "old": saved({"a": torch.zeros(4)}, _use_new_zipfile_serialization=False),
        "gguf": b"GGUF" + struct.pack("<IQQQ1sIQQ1sI2QIQ", 3, 1, 1, 1, b"k", 10, 5, 1, b"t", 2, 4, 4, 0, 0) + bytes(96),
    }


TEMPLATES = _templates()


@pytest.mark.parametrize("template", TEMPLATES)
@settings(
    max_examples=200, deadline=None
)  # a busy machine is no reason to fail; what hangs ends with the time-out of pytest
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=3)), min_size=1, max_size=4))
def test_whole_files_with_changed_bytes_are_read_or_refused(
    scratch: Path, template: str, changes: list[tuple[float, bytes]]
) -> None:
    content = TEMPLATES[template]
    for place, bytes_there in changes:
        at = math.floor(place * len(content))
        content = content[:at] + bytes_there + content[at + 1 :]
    scratch.write_bytes(torch_zip(content, **{"0": bytes(16)}) if template == "description" else content)
    read_or_refuse(scratch)


_NUMBER = st.one_of(st.integers(-2, 2**65), st.none(), st.text(max_size=2), st.lists(st.integers(), max_size=2))


@settings(
    max_examples=200, deadline=None
)  # a busy machine is no reason to fail; what hangs ends with the time-out of pytest
@given(
    header=st.dictionaries(
        st.sampled_from(["a", "lora_unet_x.lora_down.weight", "clip_l", "__metadata__"]),
        st.fixed_dictionaries(
            {},
            optional={
                "dtype": st.one_of(st.sampled_from(["F16", "U8", "F4"]), _NUMBER),
                "shape": st.one_of(st.lists(_NUMBER, max_size=4), _NUMBER),
                "data_offsets": st.one_of(st.tuples(_NUMBER, _NUMBER), _NUMBER),
            },
        ),
    )
)
def test_headers_of_any_shape_are_read_or_refused(scratch: Path, header: Any) -> None:
    scratch.write_bytes(safetensors(header, 8))
    read_or_refuse(scratch)


@settings(
    max_examples=200, deadline=None
)  # a busy machine is no reason to fail; what hangs ends with the time-out of pytest
@given(
    opcodes=st.lists(
        st.sampled_from([bytes([code]) for code in b"()]}.0125NRSabcdehioqrstuX\x80\x85\x88\x8c\x93\x94"]), max_size=60
    )
)
def test_pickles_of_any_opcodes_are_refused(scratch: Path, opcodes: list[bytes]) -> None:
    scratch.write_bytes(torch_zip(b"\x80\x04" + b"".join(opcodes)))
    read_or_refuse(scratch)


@settings(
    max_examples=100, deadline=None
)  # a busy machine is no reason to fail; what hangs ends with the time-out of pytest
@given(
    shapes=st.dictionaries(
        st.sampled_from(
            sorted({name for specimen in list(SPECIMENS.values())[:40] for name in specimen.shapes()})[::50]
        )
        | st.text(max_size=12),
        st.lists(st.integers(0, 5), max_size=5).map(tuple),
        max_size=6,
    )
)
def test_known_keys_with_other_shapes_are_no_surprise(scratch: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    shapes.pop("__metadata__", None)
    recognise(read_weights_header(write_safetensors(scratch, shapes)))
