"""Dynamic prompts: every text has a reading and is kept; what is chosen is what their syntax says."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gesso.core.errors import InputError, UnknownNameError
from gesso.engine.prompt.choices import Option, parse_template, written
from gesso.engine.prompt.choosing import Chooser, Values, check_names
from gesso.engine.texts.styles import Styles, styled
from gesso.engine.texts.wildcards import Wildcards

SIGNS = ["{", "}", "|", "[", "]", "$$", "2", "1-", "-", "0.5", "::", "__", "_", "\\", " ", "a", "b/c", "*", "$", ","]
LISTS: dict[str, Sequence[str]] = {"colour": ["red", "blue", "green"], "x": ["{1|2}", "__colour__"]}


def values(name: str) -> list[Option]:
    if name not in LISTS:
        raise UnknownNameError("wildcard", name, sorted(LISTS))
    return [Option("", parse_template(value)) for value in LISTS[name]]


def choose(text: str, values: Values, *, seed: int, what: str, unescape: bool) -> str:
    """One text of the dynamic prompt `text`."""
    return Chooser(values, seed=seed, what=what, unescape=unescape).text(parse_template(text))


def chosen(text: str, seeds: int = 60, unescape: bool = False) -> Counter[str]:
    """What so many seeds choose."""
    return Counter(choose(text, values, seed=seed, what="prompt", unescape=unescape) for seed in range(seeds))


@given(text=st.one_of(st.text(max_size=40), st.lists(st.sampled_from(SIGNS), max_size=30).map("".join)))
@settings(max_examples=150, deadline=None)
def test_a_template_is_written_as_it_was_parsed_and_can_be_chosen_of(text: str) -> None:
    template = parse_template(text)
    assert written(template) == text
    with suppress(InputError):  # a wildcard that is not there, weights that are all 0
        assert choose(text, values, seed=1, what="prompt", unescape=False) == choose(
            text, values, seed=1, what="prompt", unescape=False
        )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a {red|blue} cat", {"a red cat", "a blue cat"}),
        ("{a|{b|c} d}", {"a", "b d", "c d"}),
        ("{a|}", {"a", ""}),
        ("{0::a|b}", {"b"}),
        ("{2$$a|b|c}", {"a, b", "a, c", "b, a", "b, c", "c, a", "c, b"}),
        ("{2$$ and $$a|b}", {"a and b", "b and a"}),
        ("{1-2$$ + $$a|b}", {"a", "b", "a + b", "b + a"}),
        ("{-1$$a|b}", {"a", "b"}),
        ("{2-$$a|b}", {"a, b", "b, a"}),
        ("{9$$a|b}", {"a, b", "b, a"}),
        ("{3$$/$$__colour__}", {f"{a}/{b}/{c}" for a in "RBG" for b in "RBG" for c in "RBG" if len({a, b, c}) == 3}),
        ("__x__", {"1", "2", "red", "blue", "green"}),
        ("{[a|b]|c}", {"[a|b]", "c"}),
        ("{a [b|c}", {"a [b", "c"}),
        ("{a:b:0.5|(c:1.2)}", {"a:b:0.5", "(c:1.2)"}),
    ],
)
def test_each_value_is_chosen_by_some_seed_and_nothing_else(text: str, wanted: set[str]) -> None:
    letters = str.maketrans({"R": "red", "B": "blue", "G": "green"})
    assert set(chosen(text, 200)) == {each.translate(letters) for each in wanted}


@pytest.mark.parametrize(
    "text",
    [
        "{red}",
        "a } b | c {",
        "$5 and $$ and {$",
        "{$$a}",
        "a__b__c",
        "____",
        "__ a __",
        "snake_case",
        "[a|b]",
        '{"a": 1}',
    ],
)
def test_signs_that_make_no_choice_are_text(text: str) -> None:
    assert set(chosen(text, 3)) == {text}


def test_a_backslash_takes_the_meaning_off_and_stays_only_where_the_language_reads_it() -> None:
    text = r"\{a|b\} \__x__ (c\) {d\|e|d\|e}"
    assert set(chosen(text, 5)) == {r"\{a|b\} \__x__ (c\) d\|e"}
    assert set(chosen(text, 5, unescape=True)) == {r"{a|b} __x__ (c\) d|e"}


def test_weights_are_how_often_a_value_is_chosen() -> None:
    found = chosen("{3::a|b|0.5::c}", 900)
    assert [round(found[value] / 900, 1) for value in "abc"] == [0.7, 0.2, 0.1]


def test_what_a_seed_chooses_stays() -> None:
    """Recipes hold seeds: another text for an old seed would be another picture."""
    assert [
        choose("{2$$a|b|c|d} __colour__", values, seed=seed, what="prompt", unescape=False) for seed in range(4)
    ] == [
        "b, a red",
        "b, c green",
        "b, d green",
        "b, d red",
    ]


def test_what_nobody_can_choose_is_refused_in_a_line() -> None:
    loop = {"a": ["x __b__"], "b": ["__a__"], "long": ["word " * 900]}
    # Each names the next twice, and the last says nothing.
    loop |= {f"n{place}": ["{2$$__n" + str(place + 1) + "__|__n" + str(place + 1) + "__}"] for place in range(40)}
    loop["n40"] = ["{|}"]

    def looped(name: str) -> list[Option]:
        return [Option("", parse_template(value)) for value in loop[name]]

    with pytest.raises(InputError, match="one of its own values: `__a__` > `__b__` > `__a__`"):
        check_names(parse_template("{x|{y|__a__}}"), looped)
    with pytest.raises(InputError, match="all weights are 0"):
        chosen("{0::a|0::b}")
    with pytest.raises(InputError, match="grows without end"):
        choose("__long__ " * 100, looped, seed=1, what="prompt", unescape=False)
    with pytest.raises(InputError, match="grows without end"):
        choose("__n0__", looped, seed=1, what="prompt", unescape=False)
    with pytest.raises(InputError, match="5,000 values are chosen at once"):
        chosen("{5000$$" + "a|" * 6000 + "b}")
    with pytest.raises(InputError, match=r"Variables of dynamic prompts are not read: `\$\{season`"):
        parse_template("${season={summer|winter}} in ${season}")
    with pytest.raises(InputError, match="more than 100 brackets"):
        parse_template("{a|" * 101)
    with pytest.raises(UnknownNameError, match="Unknown wildcard: `color`") as unknown:
        check_names(parse_template("{a|b __color__}"), values)
    assert unknown.value.nearest == ["colour"]


# --- files


def test_lists_come_from_text_yaml_and_json_in_folders() -> None:
    for path, text in {
        "one/hair/colour.txt": "\ufeff# a comment\nred\n\n  blue  \n2::green\n",
        "one/any-name.yaml": "Tops:\n  warm: [coat, 3]\n  count: 5\nbags: [sack]\n",
        "one/deep/list.json": '["x"]',
        "two/hair/colour.txt": "grey\n",
        "two/.hidden/secret.txt": "no\n",
        "two/broken.yaml": "a: [",
    }.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, "utf-8")
    wildcards = Wildcards([Path("one"), Path("two"), Path("nowhere")])
    found = {each.name: each.values for each in wildcards.lists().values()}
    assert found == {
        "hair/colour": ("red", "blue", "2::green"),
        "Tops/warm": ("coat", "3"),
        "bags": ("sack",),
        "deep/list": ("x",),
    }
    assert list(wildcards.broken()) == [Path("two/broken.yaml")]
    lookup = wildcards.lookup()
    assert [(str(option), option.weight) for option in lookup("HAIR/colour")] == [
        ("red", 1.0),
        ("blue", 1.0),
        ("2::green", 2.0),
    ]
    assert [str(option) for option in lookup("*s*")] == ["sack", "x", "coat", "3"]
    with pytest.raises(UnknownNameError, match="Unknown wildcard: `hair`") as unknown:
        lookup("hair")
    assert "broken.yaml" in (unknown.value.hint or "")
    Path("one/hair/colour.txt").write_text("pink\n")
    assert [str(option) for option in wildcards.lookup()("hair/colour")] == ["pink"]


def test_styles_come_from_csv_and_yaml() -> None:
    Path("styles.csv").write_text(
        '\ufeffname,prompt,negative_prompt\n# none,x,\noil,"oil of {prompt}, muted",blurry\n8k,8k,\n', "utf-8"
    )
    Path("old.csv").write_text("name,text\nold,an old {prompt}\n")
    Path("folder/a").mkdir(parents=True)
    Path("folder/a/ink.yaml").write_text('prompt: "ink, {prompt}"\nnegative_prompt: colour\n')
    Path("folder/many.yaml").write_text("one: plain words\ntwo: {negative: dark}\n")
    Path("folder/list.json").write_text('[{"name": "three", "prompt": "x", "extra": "Steps: 10"}]')
    styles = Styles([Path("styles.csv"), Path("old.csv"), Path("folder")])
    found = {style.name: (style.prompt, style.negative_prompt) for style in styles.all().values()}
    assert found == {
        "oil": ("oil of {prompt}, muted", "blurry"),
        "8k": ("8k", ""),
        "old": ("an old {prompt}", ""),
        "a/ink": ("ink, {prompt}", "colour"),
        "one": ("plain words", ""),
        "two": ("", "dark"),
    }
    assert "holds `extra`" in styles.broken()[Path("folder/list.json")]
    assert styled("a cat", [found["oil"][0], found["8k"][0]]) == "oil of a cat, muted, 8k"
    assert styled("", ["dark"]) == "dark"
    assert styled(" a cat ", [""]) == " a cat "
