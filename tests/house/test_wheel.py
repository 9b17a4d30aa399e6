"""What a person gets who installs the wheel."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import gesso

BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"


MOST_BYTES = 30_000_000
DATA = ("primer/weights", "models/single_files/known")


def test_the_wheel_holds_the_data_the_types_and_the_licence(repository: Path, tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", BUILD, str(tmp_path)], cwd=repository, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    file_name = run.stdout.splitlines()[-1]
    assert file_name.startswith(f"gesso-{gesso.__version__}-")
    assert (tmp_path / file_name).stat().st_size < MOST_BYTES
    with ZipFile(tmp_path / file_name) as wheel:
        names = set(wheel.namelist())
        entry_points = next(wheel.read(name).decode() for name in names if name.endswith("entry_points.txt"))

    package = repository / "src" / "gesso"
    data = {
        f"gesso/{file.relative_to(package).as_posix()}"
        for folder in DATA
        for file in (package / folder).rglob("*")
        if file.is_file()
    }
    assert "gesso/primer/weights/model_index.json" in data
    assert "gesso/models/single_files/known/vocabularies/LICENSE.clip" in data
    assert data <= names
    assert "gesso/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "gesso = gesso.cli:main" in entry_points
    assert not [name for name in names if not name.startswith("gesso")]
