"""Gesso, fast or exact."""

from collections import Counter

from benchmarks.arms.base import Made, is_denoiser, pixels_of
from gesso.core.requests import ImageRequest
from gesso.core.settings import load_settings
from gesso.engine.handle import Picture
from gesso.engine.studio import Studio


class GessoArm:
    """A studio with the settings that it has by itself, but for the number of threads, which is stated."""

    def __init__(self, model: str, *, threads: int, device: str, exact: bool) -> None:
        self._device, self._exact = device, exact
        self._studio = Studio(load_settings(threads=threads, exact=exact, device=device))
        self._threads = threads

    def make(self, request: ImageRequest) -> Made:
        (made,) = self.make_count(request)
        return made

    def make_count(self, request: ImageRequest) -> list[Made]:
        """One request with its `count`."""
        return [_made(picture) for picture in self._studio.submit(request).result().pictures]

    def use_threads(self, threads: int) -> None:
        """The worker's count is fixed when it starts, so this is a new studio."""
        if threads != self._threads:
            self._studio.close()
            self._studio = Studio(load_settings(threads=threads, exact=self._exact, device=self._device))
            self._threads = threads

    def close(self) -> None:
        self._studio.close()


def _made(picture: Picture) -> Made:
    run = picture.recipe.run
    found: Counter[str] = Counter()
    forwards = 0.0
    for entry in run.trace:
        if is_denoiser(entry.component):
            found["rows"] += sum(segment.rows for segment in entry.segments)
            forwards += sum(segment.rows / segment.batch_rows for segment in entry.segments)
    return Made(
        pixels=pixels_of(picture.image),
        rows=found["rows"],
        forwards=forwards,
        network_rows=run.metering.rows,
        padded_rows=run.metering.padded_rows,
    )
