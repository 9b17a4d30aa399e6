"""How long forwards take: for how long company is worth waiting, and how many rows are worth a forward."""

from collections import OrderedDict, deque
from collections.abc import Hashable
from statistics import median

_RECENT = 31
_TRIES = 3
"""Forwards that say what a number of rows costs; the fastest counts, since others are slowed down by chance."""
_GAIN = 0.95
"""Fewer rows must cost less than this share a row, or more are preferred."""
_FORGET_AFTER = 500
"""Forwards after which everything is found out anew: the machine may have been busy, or may be now."""
_KINDS = 64


class Pace:
    """The durations of one method of a component. Written and read on the worker's thread, under its lock."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._kinds: OrderedDict[Hashable, _RowCosts] = OrderedDict()

    def add(self, seconds: float, *, kind: Hashable, rows: int) -> None:
        """A forward took so long.

        Args:
            kind: what its rows had in common, above all their shapes; `None` says nothing about others.
        """
        self._recent.append(seconds)
        if kind is None:
            return
        costs = self._kinds.setdefault(kind, _RowCosts())
        costs.add(seconds, rows)
        self._kinds.move_to_end(kind)
        if len(self._kinds) > _KINDS:
            self._kinds.popitem(last=False)

    def median_seconds(self) -> float:
        """Of a forward lately; 0 before the first."""
        return median(self._recent) if self._recent else 0.0

    def worthwhile_rows(self, kind: Hashable, *, least: int, most: int) -> int:
        """How many rows a forward of `kind` shall have at most: more cost more for each row, or are more than `most`.

        Large rows do not fit the caches of a processor together, and an accelerator may be full with one.

        Args:
            least: rows of one call, which stay together.
        """
        costs = self._kinds.get(kind)
        return most if costs is None else costs.worthwhile(least=least, most=most)


class _RowCosts:
    """Seconds for each row, by powers of two: band b holds forwards of more than 2^(b-1) and at most 2^b rows."""

    def __init__(self) -> None:
        self._bands: dict[int, deque[float]] = {}
        self._added = 0

    def add(self, seconds: float, rows: int) -> None:
        self._added += 1
        if self._added > _FORGET_AFTER:
            self._bands.clear()
            self._added = 1
        self._bands.setdefault((rows - 1).bit_length(), deque(maxlen=_TRIES)).append(seconds / rows)

    def worthwhile(self, *, least: int, most: int) -> int:
        """Half as many as the most that are known, as long as that is better or must be tried."""
        known = {band: min(costs) for band, costs in self._bands.items() if len(costs) == _TRIES}
        if not known:
            return most
        band, chosen = max(known), most
        while 2 ** (band - 1) >= least:
            if band - 1 in known and known[band - 1] >= _GAIN * known[band]:
                break
            band -= 1
            chosen = 2**band
            if band not in known:
                break  # to find out
        return min(chosen, most)
