"""The prompt language: every text has a reading and is kept; the worked examples of AUTOMATIC1111's rules hold."""

import time
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gesso.core.errors import InputError
from gesso.core.requests import AdapterUse, PromptDialect
from gesso.engine.prompt.networks import take_networks
from gesso.engine.prompt.parse import parse
from gesso.engine.prompt.reading import read_prompts
from gesso.engine.prompt.steps import Piece, Sections

A1111, COMFYUI, GESSO, PLAIN = PromptDialect.A1111, PromptDialect.COMFYUI, PromptDialect.GESSO, PromptDialect.PLAIN

SIGNS = [
    "(",
    ")",
    "[",
    "]",
    ":",
    "|",
    "\\",
    "<",
    ">",
    "#",
    "\n",
    " ",
    "AND",
    "BREAK",
    "1.2",
    "0.5",
    "-3",
    ".",
    ",",
    "a",
    "lora",
]
TEXTS = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(SIGNS), max_size=40).map("".join))


def schedule(prompt: str, steps: int = 20, dialect: PromptDialect = A1111) -> list[tuple[int, Sections]]:
    (part,) = read_prompts(prompt, "", dialect=dialect, steps=steps).parts
    return [(entry.last_step, entry.sections) for entry in part.entries]


def words(prompt: str, steps: int = 20) -> list[list[object]]:
    """[last step, text] of each change, where nothing is weighted."""
    return [[last, "".join(piece.text for piece in section)] for last, (section,) in schedule(prompt, steps)]


def pieces(prompt: str, dialect: PromptDialect = A1111) -> list[list[list[object]]]:
    """[text, weight] of each piece, by section."""
    ((_, sections),) = schedule(prompt, dialect=dialect)
    return [[list(piece) for piece in section] for section in sections]


@given(text=TEXTS, dialect=st.sampled_from(PromptDialect), negative=st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_syntax_tree_is_written_as_it_was_parsed_and_can_be_read(
    text: str, dialect: PromptDialect, negative: bool
) -> None:
    tree = parse(text, dialect, negative=negative)
    assert str(tree) == text
    assert parse(str(tree), dialect, negative=negative) == tree
    with suppress(InputError):  # a weight or a number of parts out of range
        assert list(read_prompts(text, text, dialect=dialect, steps=7).moments())[-1].last_step == 7


LEAVES = st.sampled_from(["a cat", "sky, ", r"\(x\)", "", "BREAK"])


def constructions(inside: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    number = st.sampled_from(["0.5", "1.3", "8", "-1"])
    return st.one_of(
        st.builds("({})".format, inside),
        st.builds("[{}]".format, inside),
        st.builds("({}:{})".format, inside, number),
        st.builds("[{}:{}:{}]".format, inside, inside, number),
        st.builds("[{}:{}]".format, inside, number),
        st.builds("[{}|{}]".format, inside, inside),
        st.builds("{} {}".format, inside, inside),
    )


@given(text=st.recursive(LEAVES, constructions, max_leaves=12))
@settings(max_examples=40, deadline=None)
def test_whole_constructions_leave_no_bracket_in_the_words(text: str) -> None:
    (part,) = read_prompts(text, "", dialect=A1111, steps=5).parts
    said = "".join(piece.text for entry in part.entries for section in entry.sections for piece in section)
    assert not set("[]|") & set(said)
    assert said.count("(") == said.count("(x)")


@pytest.mark.parametrize(
    "text",
    ["[a|b" * 90, ":1" * 10_000, "<a:" * 6_000, " " * 20_000, ":" + "1" * 19_999],
)
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    assert str(parse(text, A1111)) == text
    assert time.process_time() - began < 3


def test_what_nobody_can_mean_is_refused_in_a_line() -> None:
    with pytest.raises(InputError, match="more than 100 brackets inside each other"):
        parse("(" * 101, GESSO)
    with pytest.raises(InputError, match="a weight of 1000"):
        read_prompts("(a:1000)", "", dialect=GESSO, steps=5)
    with pytest.raises(InputError, match="33 parts"):
        read_prompts(" AND ".join("a" * 33), "", dialect=GESSO, steps=5)
    many = " ".join(f"[{'|'.join('abcdefghijklmnopqrs'[:length])}]" for length in (13, 17, 19))
    with pytest.raises(InputError, match="more than 300 different texts"):
        read_prompts(many, "", dialect=GESSO, steps=1000)


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        (
            "a [dim] ((glow:1.5)) sky",
            [["a ", 1.0], ["dim", 0.9090909090909091], [" ", 1.0], ["glow", 1.6500000000000001], [" sky", 1.0]],
        ),
        (r"\(lit\) (a:1.2)(b:1.2)", [["(lit) ", 1.0], ["ab", 1.2]]),
        ("(red:1.3) car)", [["red", 1.3], [" car)", 1.0]]),
        ("(cat:big:1.2)", [["cat:big", 1.2]]),
        ("((a:1.2), b", [["a", 1.32], [", b", 1.1]]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky)))).",
            [
                *(["a ", 1.0], ["house", 1.5730000000000004], [" ", 1.1], ["on", 1.0], [" a ", 1.1], ["hill", 0.55]),
                *([", sun, ", 1.1], ["sky", 1.4641000000000006], [".", 1.0]),
            ],
        ),
        ("(a : 1.2 )", [["a ", 1.2]]),
        ("[a:b]", [["a:b", 1 / 1.1]]),
        ("(a:1.2.3)", [["a:1.2.3", 1.1]]),
        (r"a\b (x \: y)", [["ab ", 1.0], ["x : y", 1.1]]),
        ("a # said aside\nb", [["a \nb", 1.0]]),
        ("", []),
    ],
)
def test_brackets_weigh_as_in_automatic1111(prompt: str, wanted: Sequence[object]) -> None:
    assert pieces(prompt) == [wanted]


def test_break_ends_a_section_also_inside_brackets() -> None:
    assert pieces("a cat BREAK (a dog:1.2)") == [[["a cat", 1.0]], [["a dog", 1.2]]]
    assert pieces("(a BREAK b:1.5) BREAK") == [[["a", 1.5]], [["b", 1.5]]]
    assert pieces("BREAKFAST, a BREAK_, break") == [[["BREAKFAST, a BREAK_, break", 1.0]]]


@pytest.mark.parametrize(
    ("prompt", "steps", "wanted"),
    [
        ("a [cat:dog:0.25] sits", 20, [[5, "a cat sits"], [20, "a dog sits"]]),
        ("[fog::8] hill[: at dusk:0.5]", 20, [[8, "fog hill"], [10, " hill"], [20, " hill at dusk"]]),
        ("a [x:[y:z:12]:6]", 20, [[6, "a x"], [12, "a y"], [20, "a z"]]),
        ("[red|blue] [x:y:2]", 4, [[1, "red x"], [2, "blue x"], [3, "red y"], [4, "blue y"]]),
        ("[a:b:30]", 20, [[20, "a"]]),
        ("[a:b:0]", 20, [[20, "b"]]),
        ("[a:b:1]", 20, [[1, "a"], [20, "b"]]),
        ("[a:b:1.0]", 20, [[20, "a"]]),
        ("a [b:.5] c", 10, [[5, "a  c"], [10, "a b c"]]),
        ("[fe|]male", 4, [[1, "female"], [2, "male"], [3, "female"], [4, "male"]]),
        ("[a:b:-3][c:1e999]", 4, [[4, "b"]]),
    ],
)
def test_schedules_and_alternations_change_words_at_the_steps(
    prompt: str, steps: int, wanted: Sequence[object]
) -> None:
    assert words(prompt, steps) == wanted


@pytest.mark.parametrize(
    ("prompt", "first", "second"),
    [
        ("[a:b:1.5]", [[20, "a"]], [[5, "a"], [10, "b"]]),
        ("[a:b:25]", [[20, "a"]], [[5, "a"], [10, "b"]]),
        ("[a:b:0.5]", [[10, "a"], [20, "b"]], [[10, "b"]]),
        ("[a:b:8]", [[8, "a"], [20, "b"]], [[10, "b"]]),
        ("[a:b:2.0]", [[20, "a"]], [[10, "a"]]),
    ],
)
def test_schedules_count_on_in_a_second_pass_as_in_automatic1111(
    prompt: str, first: list[list[object]], second: list[list[object]]
) -> None:
    assert words(prompt, 20) == first
    (part,) = read_prompts(prompt, "", dialect=A1111, steps=10, made=20).parts
    assert [[entry.last_step, entry.sections[0][0].text] for entry in part.entries] == second


def test_and_joins_parts_with_weights() -> None:
    reading = read_prompts("a cat :1.2 AND a dog AND fog:-0.5", "", dialect=A1111, steps=3)
    found = [(part.entries[0].sections[0][0].text.rstrip(), part.weight) for part in reading.parts]
    assert found == [("a cat", 1.2), (" a dog", 1.0), (" fog", -0.5)]
    assert len(read_prompts("SAND ANDROID AND_PERP", "", dialect=A1111, steps=3).parts) == 1


def test_a_ratio_at_the_end_is_a_weight_in_automatic1111_alone() -> None:
    assert read_prompts("wide, 16:9", "", dialect=A1111, steps=3).parts[0].weight == 9
    assert read_prompts("wide, 16:9", "", dialect=GESSO, steps=3).parts[0].weight == 1


def test_a_negative_prompt_has_schedules_and_weights_but_no_parts() -> None:
    reading = read_prompts("a", "x AND [y:(z:1.5):2] <lora:b:1>", dialect=GESSO, steps=4)
    texts = [[piece for section in entry.sections for piece in section] for entry in reading.negative]
    assert texts == [
        [Piece("x AND y <lora:b:1>", 1.0)],
        [Piece("x AND ", 1.0), Piece("z", 1.5), Piece(" <lora:b:1>", 1.0)],
    ]
    assert [moment.last_step for moment in reading.moments()] == [2, 4]


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("a (b) ((c))", [["a ", 1.0], ["b", 1.1], [" ", 1.0], ["c", 1.2100000000000002]]),
        ("((a:1.2) b:1.5)", [["a", 1.2], [" b", 1.5]]),
        ("(a (b:1.2) c", [["(a ", 1.0], ["b", 1.2], [" c", 1.0]]),
        (r"[a|b] AND \(c\) \x BREAK #d <lora:e:1>", [[r"[a|b] AND (c) \x BREAK #d <lora:e:1>", 1.0]]),
    ],
)
def test_comfyui_reads_round_brackets_only_and_its_weights_replace_each_other(
    prompt: str, wanted: Sequence[object]
) -> None:
    assert pieces(prompt, COMFYUI) == [wanted]


def test_plain_prompts_and_plain_words_are_left_as_they_are() -> None:
    assert pieces("(a:1.2) [b] \\ AND", PLAIN) == [[["(a:1.2) [b] \\ AND", 1.0]]]
    prompt = "A cat's hat, 2.5 metres: red/blue #3 <3 & “so on”…\n"
    assert pieces(prompt, GESSO) == [[[prompt, 1.0]]]


def test_networks_are_taken_out_of_the_prompt() -> None:
    found = take_networks("girl <lora:foo:0.8>(<lora:bar:0.5:0.2><lyco:baz:te=0.3:unet=0.9>:1.2)<zz:1>", A1111)
    assert found.prompt == "girl (:1.2)"
    assert [use for _, use in found.adapters] == [
        AdapterUse(name="foo", weight=0.8, text_encoder_weight=0.8),
        AdapterUse(name="bar", weight=0.2, text_encoder_weight=0.5),
        AdapterUse(name="baz", weight=0.9, text_encoder_weight=0.3),
    ]
    assert found.unknown == ("<zz:1>",)
    for odd in ("<lora:a:x>", "<lora:a:nan>", "<lora:a:1:1:8>", "<lora:a:dyn=8>"):
        with pytest.raises(InputError, match=r"is no number|is not applied"):
            take_networks(odd, GESSO)
