"""A pickle, read as data: a machine that knows the opcodes, but imports nothing and calls nothing.

A pickle is a program for a stack machine, and two of its opcodes import a global and call it. Here a global is only a
name, which must be one of `headers.globals`, and a call gives a value that stands for the result. Opcodes:
https://docs.python.org/3/library/pickletools.html
"""

import pickletools
from collections.abc import Callable
from io import BytesIO
from typing import Any, cast

from gesso.models.headers.base import LARGEST
from gesso.models.headers.globals import (
    ALLOWED,
    ORDERED_DICT,
    REBUILD_FROM_TYPE,
    REBUILD_PARAMETER,
    REBUILD_TENSOR,
    REBUILD_TENSOR_OF_DTYPE,
    SIZE,
)
from gesso.models.headers.stored import (
    BrokenPickleError,
    ForbiddenGlobalError,
    Global,
    Opaque,
    storage_of,
    tensor_of,
)

MAX_STEPS = 2_000_000
"""Opcodes and moved items. A full checkpoint with its optimizer takes a tenth of that."""


def read_pickle(stream: BytesIO) -> Any:
    """The value of the pickle at the place where `stream` is, which is left behind its end.

    Returns:
        Numbers, texts, `None`, lists, tuples, dicts and the classes of `headers.stored`. They may contain themselves.

    Raises:
        ForbiddenGlobalError: it names a global that is not allowed.
        BrokenPickleError: it is cut off, malformed or too long.
    """
    machine = _Machine()
    try:
        # A `Warning`: of escapes in texts of the first protocol, where a process makes errors of warnings.
        for opcode, argument, _ in pickletools.genops(stream):
            machine.work(1)
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.step(opcode.name, argument)
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, Warning) as error:
        raise BrokenPickleError(str(error) or type(error).__name__) from error
    raise BrokenPickleError("it has no end")


_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOTHING_TO_DO = frozenset({"PROTO", "FRAME"})


class _Machine:
    """Stack and memory of one pickle. Sets are lists here: their items may be of any kind."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}
        self.steps = 0

    def work(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise BrokenPickleError(f"it takes more than {MAX_STEPS:,} steps")

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in {"BINGET", "LONG_BINGET", "GET"}:
            stack.append(self.memory[int(argument)])
        elif name in {"BINPUT", "LONG_BINPUT", "PUT"}:
            self.memory[int(argument)] = self.top()
        elif name == "MEMOIZE":
            self.memory[len(self.memory)] = self.top()
        elif name in _PLAIN:
            stack.append(argument)
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _TUPLES:
            count = _TUPLES[name]
            items = tuple(self.pop() for _ in range(count))
            stack.append(items[::-1])
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name not in _NOTHING_TO_DO:
            handler = _HANDLERS.get(name)
            if handler is None:
                raise BrokenPickleError(f"weights need no opcode `{name}`")
            handler(self, argument)

    def top(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise BrokenPickleError("nothing is on its stack")
        return self.stack[-1]

    def pop(self) -> Any:
        top = self.top()
        self.stack.pop()
        return top

    def since_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        self.work(len(items))
        items.reverse()
        return items

    def end_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self.since_mark()))

    def end_list(self, _: Any) -> None:
        self.stack.append(self.since_mark())

    def end_dict(self, _: Any) -> None:
        items = self.since_mark()
        self.stack.append({})
        _fill(self.stack[-1], items)

    def append(self, _: Any) -> None:
        item = self.pop()
        _extend(self.top(), [item])

    def appends(self, _: Any) -> None:
        items = self.since_mark()
        _extend(self.top(), items)

    def set_item(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        _fill(self.top(), [key, value])

    def set_items(self, _: Any) -> None:
        items = self.since_mark()
        _fill(self.top(), items)

    def pop_one(self, _: Any) -> None:
        self.stack.pop()

    def pop_mark(self, _: Any) -> None:
        self.since_mark()

    def duplicate(self, _: Any) -> None:
        self.stack.append(self.top())

    def global_(self, argument: str) -> None:
        self.stack.append(_named(argument.replace(" ", ".", 1)))

    def stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise BrokenPickleError("a global has no name")
        self.stack.append(_named(f"{module}.{name}"))

    def reduce(self, _: Any) -> None:
        arguments, function = self.pop(), self.pop()
        self.stack.append(self.called(function, arguments))

    def new_object(self, _: Any) -> None:
        self.reduce(None)

    def new_object_with_names(self, _: Any) -> None:
        self.pop()  # arguments by name
        self.reduce(None)

    def old_instance(self, argument: str) -> None:
        self.since_mark()
        self.stack.append(Opaque(made_by=_named(argument.replace(" ", ".", 1)).name))

    def old_object(self, _: Any) -> None:
        made_by, *_arguments = self.since_mark()
        self.stack.append(self.called(made_by, ()))

    def build(self, _: Any) -> None:
        self.pop()  # attributes of an object; of a state dict, the versions of its layers
        self.top()

    def persistent(self, _: Any) -> None:
        self.stack.append(storage_of(self.pop()))

    def called(self, function: Any, arguments: Any) -> Any:
        """What stands for the result of calling `function`."""
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise BrokenPickleError("it calls what is not a global")
        given = cast("tuple[Any, ...]", arguments)
        name = function.name
        if name == ORDERED_DICT:
            return self._ordered_dict(given)
        if name in REBUILD_TENSOR:
            return tensor_of(*given[:4])
        if name == REBUILD_TENSOR_OF_DTYPE:
            return tensor_of(*given[:4], dtype=given[6])
        if name in REBUILD_PARAMETER:
            return given[0]
        if name == REBUILD_FROM_TYPE:
            rebuild = given[0]
            if isinstance(rebuild, Global) and rebuild.name == REBUILD_FROM_TYPE:
                raise BrokenPickleError("a tensor is made of itself")
            return self.called(rebuild, given[2])
        if name == SIZE:
            return given[0]
        return Opaque(made_by=name)

    def _ordered_dict(self, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for pair in arguments[0] if arguments else ():
            self.work(1)
            key, value = pair
            _fill(made, [key, value])
        return made


_PLAIN = frozenset(
    {
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
    }
)
_HANDLERS: dict[str, Callable[[_Machine, Any], None]] = {
    "TUPLE": _Machine.end_tuple,
    "LIST": _Machine.end_list,
    "FROZENSET": _Machine.end_list,
    "DICT": _Machine.end_dict,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "ADDITEMS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "POP": _Machine.pop_one,
    "POP_MARK": _Machine.pop_mark,
    "DUP": _Machine.duplicate,
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.new_object,
    "NEWOBJ_EX": _Machine.new_object_with_names,
    "INST": _Machine.old_instance,
    "OBJ": _Machine.old_object,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
}


def _named(name: str) -> Global:
    if name not in ALLOWED:
        raise ForbiddenGlobalError(name)
    return Global(name=name)


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif not isinstance(target, Opaque):
        raise BrokenPickleError("it appends to what is not a list")


def _fill(target: Any, items: list[Any]) -> None:
    """Keys and values in turn. Keys are plain: the hash of a deep tuple would overflow the stack of the interpreter."""
    if isinstance(target, Opaque):
        return
    if not isinstance(target, dict) or len(items) % 2:
        raise BrokenPickleError("it sets items of what is not a dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if isinstance(key, Global):
            key = key.name
        if not (key is None or isinstance(key, str | float | bytes) or (isinstance(key, int) and abs(key) < LARGEST)):
            key = f"<{type(key).__name__}>"
        target[key] = value
