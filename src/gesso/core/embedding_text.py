"""An embedding of a request as one word of a command line: `NAME[=WORD]`.

easynegative                     where its name stands in a prompt
~/Downloads/cat.pt=<cat>         where `<cat>` stands
"""

from gesso.core.requests import EmbeddingUse


def parse_embedding(text: str) -> EmbeddingUse:
    """Read it from behind, so that a path may hold the sign. Raises `ValueError` without a name or a word."""
    name, sign, word = text.strip().rpartition("=")
    if not sign:
        name, word = word, ""
    if not name.strip():
        raise ValueError("there is no name")
    if sign and not word.strip():
        raise ValueError("there is no word behind `=`")
    return EmbeddingUse(name=name.strip(), word=word.strip() or None)
