"""The pictures of one request on the disk: saved as they are done, so that what an interrupted one made is kept."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gesso.core.settings import Settings
    from gesso.engine.handle import Handle, Picture
    from gesso.engine.resume import RequestJournal


class Album:
    """Saves every picture of a request once, in the order of their seeds.

    Args:
        out: a file or a folder; `None` is the output folder of the settings.
        journal: a folder that remembers which pictures are safe; those are in the album from the start.
    """

    def __init__(self, out: Path | None, settings: "Settings", journal: Path | None = None) -> None:
        self._out = out
        self._settings = settings
        self._journal = _opened(journal)
        self._saved: dict[int, Path] = self._journal.saved() if self._journal is not None else {}

    @property
    def paths(self) -> list[Path]:
        """Where the pictures are, in the order of their seeds; without those that somebody removed meanwhile."""
        return [path for _, path in sorted(self._saved.items()) if path.is_file()]

    @property
    def removed(self) -> list[Path]:
        """Pictures that were saved and are not there any more."""
        return [path for _, path in sorted(self._saved.items()) if not path.is_file()]

    def add_ready(self, handle: "Handle") -> None:
        """Save those pictures that are done and that no unfinished one comes before."""
        done = {picture.index: picture for picture in handle.pictures}
        index = 0
        while index in self._saved or index in done:
            if index not in self._saved:
                self._save(done[index])
            index += 1

    def add_rest(self, handle: "Handle") -> None:
        """Save whatever is done: nothing more will come."""
        for picture in handle.pictures:
            if picture.index not in self._saved:
                self._save(picture)

    def _save(self, picture: "Picture") -> None:
        from gesso.engine.pictures import save

        (path,) = save([picture.image], [picture.recipe], out=self._out, settings=self._settings)
        self._saved[picture.index] = path
        if self._journal is not None:
            self._journal.mark_saved(picture.index, path)

    def close(self) -> None:
        """Every picture is safe: nothing needs to be remembered any more."""
        if self._journal is not None:
            self._journal.discard()

    def as_list(self) -> list[dict[str, Any]]:
        """For JSON: where each picture is and the facts that tell it from others."""
        return [_entry(path) for path in self.paths]

    def reports(self) -> dict[str, list[dict[str, Any]]]:
        """For JSON: what became of each adapter and embedding. All pictures of a request have the same."""
        from gesso.engine.pictures import read_recipe

        recipe = next((found for path in self.paths if (found := read_recipe(path).recipe) is not None), None)
        adapters, embeddings = ((), ()) if recipe is None else (recipe.run.adapters, recipe.run.embeddings)
        return {
            "adapters": [report.model_dump(mode="json") for report in adapters],
            "embeddings": [report.model_dump(mode="json") for report in embeddings],
        }


def _opened(journal: Path | None) -> "RequestJournal | None":
    if journal is None:
        return None
    from gesso.engine.resume import RequestJournal

    return RequestJournal(journal)


def _entry(path: Path) -> dict[str, Any]:
    from PIL import Image

    from gesso.engine.pictures import read_recipe, sidecar_path

    recipe, sidecar = read_recipe(path).recipe, sidecar_path(path)
    assert recipe is not None
    with Image.open(path) as picture:  # what is painted under a mask is put into a picture of another size
        width, height = picture.size
    return {
        "path": path,
        "seed": recipe.run.seed,
        "width": width,
        "height": height,
        "model": recipe.resolved.model,
        # In the picture itself, or beside it where it was too long for the format.
        "recipe": sidecar if sidecar.is_file() else path,
        "pixels_sha256": recipe.run.pixels_sha256,
        "device_seconds": recipe.run.metering.device_seconds,
    }
