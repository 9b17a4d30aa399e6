"""Networks in memory: several at once, the least recently used leaves first, one that is in use never."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from gesso.core.errors import DoesNotFitError

ModelKey = tuple[str, str, str, str]
"""Path and state of the files, device, precision, precision of the VAE."""


class Closable(Protocol):
    """What leaves memory when it is closed."""

    def close(self) -> None: ...


M = TypeVar("M", bound=Closable)


@dataclass(eq=False)
class _Place(Generic[M]):
    loading: threading.Lock = field(default_factory=threading.Lock)
    model: M | None = None
    users: int = 0


class ModelCache(Generic[M]):
    """Models, or VAEs beside them, by key. Two requests for the same one load it once; others load side by side."""

    def __init__(self, *, max_models: int) -> None:
        self.max_models = max_models
        self._lock = threading.Lock()
        self._places: OrderedDict[ModelKey, _Place[M]] = OrderedDict()

    @contextmanager
    def use(self, key: ModelKey, load: Callable[[], M]) -> Iterator[M]:
        """The model of `key`, loaded by `load` if need be; it stays in memory during the block.

        When it does not fit beside the others, those that nobody uses leave, and it is tried again.
        """
        with self._lock:
            place = self._places.setdefault(key, _Place[M]())
            place.users += 1
            self._places.move_to_end(key)
        try:
            with place.loading:
                if place.model is None:
                    self._evict(keep=self.max_models - 1)
                    place.model = self._load(load)
            yield place.model
        finally:
            with self._lock:
                place.users -= 1
                if place.model is None and place.users == 0:
                    self._places.pop(key, None)

    def _load(self, load: Callable[[], M]) -> M:
        try:
            return load()
        except DoesNotFitError:
            if not self._evict(keep=0):
                raise
            return load()

    def is_resident(self, key: ModelKey) -> bool:
        with self._lock:
            place = self._places.get(key)
            return place is not None and place.model is not None

    def _evict(self, *, keep: int) -> bool:
        """Drop unused models, longest unused first, until at most `keep` are left; whether any was dropped."""
        dropped: list[M] = []
        with self._lock:
            resident = sum(place.model is not None for place in self._places.values())
            for key, place in list(self._places.items()):
                if resident - len(dropped) > keep and place.users == 0 and place.model is not None:
                    dropped.append(place.model)
                    del self._places[key]
        for model in dropped:
            model.close()
        return bool(dropped)
