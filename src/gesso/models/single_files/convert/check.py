"""Whether what was written is a model: each network is built without weights and compared with the tensors there.

The libraries that build networks take some hundred megabytes, which a conversion has no need of: it asks a process of
its own, unless they are loaded anyway.
"""

import subprocess
import sys
from pathlib import Path

from gesso.core.errors import GessoError, ModelError

_FAILED = 3
_HINT = "nothing was kept; the config and the weights of the source do not fit each other"


def check_model(path: Path, *, cache_folder: Path) -> None:
    """Describe the model at `path` and build its networks.

    Raises:
        ModelError: it cannot be described, or a tensor is missing, left over or of another shape.
    """
    if "diffusers" in sys.modules:
        _check(path, cache_folder)
        return
    command = [sys.executable, "-m", __name__, str(path), str(cache_folder)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        lines = (run.stdout if run.returncode == _FAILED else run.stderr).strip().splitlines()
        raise ModelError(f"What was written cannot be loaded: {lines[-1] if lines else 'no reason given'}", hint=_HINT)


def _check(path: Path, cache_folder: Path) -> None:
    from gesso.models.folder import describe, verify
    from gesso.models.network import check_structure
    from gesso.models.single_files.assemble import describe_file
    from gesso.models.single_files.convert.plan import pieces_of

    description = describe(path) if path.is_dir() else describe_file(path, cache_folder=cache_folder)
    verify(description)
    for network in description.networks:
        pieces, _ = pieces_of(network)
        check_structure(network, {name: piece.shape for name, piece in pieces.items()})


if __name__ == "__main__":
    try:
        _check(Path(sys.argv[1]), Path(sys.argv[2]))
    except GessoError as error:
        print(error.message)
        sys.exit(_FAILED)
