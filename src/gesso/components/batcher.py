"""The queue of a worker: which calls run next, and whether to wait a moment for company.

No threads and no clock in here: the worker holds the lock and says what time it is, so that every decision can be
tested with a virtual clock.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from gesso.components.call import Call
from gesso.components.scope import ImageScope

PATIENCE = 0.1
"""Share of the median forward that a call is kept waiting for company at most."""


@dataclass(frozen=True, kw_only=True)
class WaitUntil:
    """Nothing to run before this time unless another call arrives."""

    time: float


class Batcher:
    """Calls waiting for one device.

    Order is priority, then age of the call. The first call takes along every call that agrees with it, in the same
    order, as far as there is room. It waits for others only if pictures that made this very kind of call last are
    between two calls now; so a lone call never waits.
    """

    def __init__(self) -> None:
        self._waiting: list[Call] = []
        self._last_key: WeakKeyDictionary[ImageScope, Hashable] = WeakKeyDictionary()

    def add(self, call: Call) -> None:
        self._waiting.append(call)

    def remove(self, scope: ImageScope) -> list[Call]:
        """Take out the waiting calls of a picture."""
        removed = [call for call in self._waiting if call.scope is scope]
        self._waiting = [call for call in self._waiting if call.scope is not scope]
        return removed

    def drain(self) -> list[Call]:
        """Take out every waiting call."""
        removed, self._waiting = self._waiting, []
        return removed

    def leave(self, scope: ImageScope) -> None:
        """A picture makes no further calls; nobody waits for it any more."""
        self._last_key.pop(scope, None)

    def take(self, now: float) -> list[Call] | WaitUntil | None:
        """The calls to run next; or until when to wait for company; or `None` if nothing waits."""
        if not self._waiting:
            return None
        self._waiting.sort(key=lambda call: -call.scope.priority)  # stable: equal priorities keep the order of arrival
        head = self._waiting[0]
        batch = self._with_company(head)
        if head.first_considered is None:  # an urgent call in between does not start its patience anew
            head.first_considered = now
        if not self._full(batch) and self._expected(head):
            until = head.first_considered + self._patience(head)
            if now < until:
                return WaitUntil(time=until)
        taken = {id(call) for call in batch}
        self._waiting = [call for call in self._waiting if id(call) not in taken]
        for call in batch:
            if call.key is not None:
                self._last_key[call.scope] = call.key
            else:
                self._last_key.pop(call.scope, None)
        return batch

    def _with_company(self, head: Call) -> list[Call]:
        if head.key is None:
            return [head]
        batch, rows, limit = [head], head.rows, self._limit(head)
        for call in self._waiting[1:]:
            if call.key == head.key and rows + call.rows <= limit:
                batch.append(call)
                rows += call.rows
        return batch

    def _limit(self, call: Call) -> int:
        component = call.component
        return component.bucket_rows(call.method) if call.exact else component.shared_rows(call.method)

    def _full(self, batch: list[Call]) -> bool:
        head = batch[0]
        return head.key is None or sum(call.rows for call in batch) + head.rows > self._limit(head)

    def _patience(self, call: Call) -> float:
        return PATIENCE * call.component.pace(call.method)

    def _expected(self, head: Call) -> bool:
        """Whether a picture that made an agreeing call last is now between two calls."""
        here = {id(call.scope) for call in self._waiting}
        return any(key == head.key and id(scope) not in here for scope, key in self._last_key.items())
