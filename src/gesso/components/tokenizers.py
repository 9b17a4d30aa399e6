"""Tokenizers are shared state: padding and truncation are set on the object before it encodes.

Two pipelines that tokenize at once silently get ids of the wrong length, hence another picture. Copies would do, but
copying CLIP's vocabulary takes 0.2 s; a lock costs nothing that a picture notices.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any

_LOCK = "_gesso_lock"
_METHODS = (
    *("__call__", "encode", "encode_plus", "batch_encode_plus", "pad", "apply_chat_template"),
    *("tokenize", "_encode_plus"),  # pipelines that know textual inversion look for its words before they encode
)


def make_safe(tokenizer: Any) -> Any:
    """Let one thread at a time encode with `tokenizer`, which stays the same object of a class of the same name."""
    if not hasattr(tokenizer, _LOCK):
        setattr(tokenizer, _LOCK, threading.RLock())  # reentrant: `encode` calls `__call__`
        tokenizer.__class__ = _locked_class(type(tokenizer))
    return tokenizer


@functools.cache
def _locked_class(tokenizer_class: type) -> type:
    members: dict[str, Any] = {
        "__module__": tokenizer_class.__module__,
        "__qualname__": tokenizer_class.__qualname__,
        "__doc__": tokenizer_class.__doc__,
    }
    for name in _METHODS:
        original = getattr(tokenizer_class, name, None)
        if callable(original):
            members[name] = _locked(original)
    return type(tokenizer_class.__name__, (tokenizer_class,), members)


def _locked(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        with getattr(self, _LOCK):
            return original(self, *args, **kwargs)

    return method
