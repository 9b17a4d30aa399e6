"""Tokenizers hold padding and truncation on themselves: made safe, everybody gets ids of the length they asked for."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

import zoo
from callers import Caller, results
from gesso.components.tokenizers import make_safe
from toys import TIMEOUT_SECONDS
from zoo.tokenizers import bert_tokenizer, bpe_tokenizer, gemma_tokenizer

LENGTHS = (8, 77, 16, 40)
PROMPT = "a red circle left of a blue square"


def encode(tokenizer: Any, length: int) -> list[int]:
    ids: list[int] = tokenizer(PROMPT, padding="max_length", max_length=length, truncation=True).input_ids
    return ids


def meeting(tokenizer: Any, patience: float) -> Any:
    """Let two threads meet between setting the padding and encoding, if nothing keeps them apart.

    Whoever has set it waits a moment for another that sets it too.
    """
    barrier = threading.Barrier(2)
    original: Callable[..., Any] = tokenizer.set_truncation_and_padding

    def set_and_meet(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        try:
            barrier.wait(patience)
        except threading.BrokenBarrierError:
            barrier.reset()

    tokenizer.set_truncation_and_padding = set_and_meet
    return tokenizer


def lengths(tokenizer: Any) -> list[int]:
    callers = [Caller(lambda length=length: encode(tokenizer, length)) for length in (8, 77)]
    return [len(ids) for ids in results(callers)]


@pytest.mark.parametrize("make", [zoo.clip_tokenizer, zoo.t5_tokenizer])
def test_the_plain_tokenizer_gives_one_of_two_threads_the_length_of_the_other(make: Callable[[], Any]) -> None:
    """Why the lock is there; should the library mend it, this says so."""
    found = lengths(meeting(make(), TIMEOUT_SECONDS))
    assert found in ([8, 8], [77, 77])


@pytest.mark.parametrize("make", [zoo.clip_tokenizer, zoo.t5_tokenizer])
def test_the_safe_one_gives_each_thread_its_own(make: Callable[[], Any]) -> None:
    assert lengths(make_safe(meeting(make(), 0.1))) == [8, 77]


MAKERS = [zoo.clip_tokenizer, zoo.t5_tokenizer, gemma_tokenizer, bpe_tokenizer, bert_tokenizer]


@pytest.mark.parametrize("make", MAKERS)
def test_looking_for_words_does_not_take_the_padding_from_who_encodes(make: Callable[[], Any]) -> None:
    safe = make_safe(meeting(make(), 0.1))
    callers = [Caller(lambda: encode(safe, 40)), Caller(lambda: safe.tokenize(PROMPT))]
    ids, words = results(callers)
    assert len(ids) == 40
    assert len(words) < 40


@pytest.mark.parametrize("make", [zoo.clip_tokenizer, zoo.t5_tokenizer])
def test_many_threads_get_what_each_would_have_got_alone(make: Callable[[], Any]) -> None:
    plain, safe = make(), make_safe(make())
    expected = {length: encode(plain, length) for length in LENGTHS}
    start = threading.Barrier(16)

    def picture(length: int) -> list[list[int]]:
        start.wait(TIMEOUT_SECONDS)
        return [encode(safe, length) for _ in range(15)]

    wanted = [LENGTHS[index % len(LENGTHS)] for index in range(16)]
    callers = [Caller(lambda length=length: picture(length)) for length in wanted]
    for length, found in zip(wanted, results(callers), strict=True):
        assert found == [expected[length]] * 15


def test_a_safe_tokenizer_is_the_same_object_of_a_class_of_the_same_name() -> None:
    tokenizer = zoo.clip_tokenizer()
    original = type(tokenizer)
    safe = make_safe(tokenizer)
    assert safe is tokenizer
    assert isinstance(safe, original)
    assert str(type(safe)) == str(original)
    assert type(safe).__qualname__ == original.__qualname__
    locked = type(safe)
    assert type(make_safe(safe)) is locked, "made safe once, however many models share it"
    assert str(safe.decode(safe.encode("a red circle"), skip_special_tokens=True)).strip() == "a red circle"


def test_a_method_that_calls_another_does_not_wait_for_itself() -> None:
    safe = make_safe(zoo.clip_tokenizer())
    said = [{"role": "user", "content": PROMPT}]
    template = "{{ messages[0].content }}"
    found = Caller(lambda: safe.apply_chat_template(said, chat_template=template, tokenize=True)).result()
    assert found["input_ids"] == safe.encode(PROMPT, add_special_tokens=False)
    padded = Caller(lambda: safe.pad({"input_ids": [[1, 2], [3]]}, padding=True)).result()
    assert len(padded["input_ids"][1]) == 2
