"""Small tokenizers with the layouts of the released ones."""

# transformers annotates merges as strings and takes pairs.
# pyright: reportArgumentType=false

from itertools import pairwise

from transformers import CLIPTokenizer, T5Tokenizer

_WORDS = (
    "a the red green blue yellow white black circle square star triangle left right of on above below and with "
    "background picture painting photo cat dog house tree river small large bright dark , . word last first"
)
WORDS = tuple(_WORDS.split())
"""Words that are one token; any other text is spelt letter by letter."""

BEGIN, END = "<|startoftext|>", "<|endoftext|>"


def clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Every byte, alone and at a word's end, then the merges that join each of `WORDS`; begin and end come last.

    The order is that of CLIP: the end of text has the highest id, which old configs rely on, and id 0 is `!`.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in printable]
    letters = [chr(code) for code in (*printable, *range(0x100, 0x100 + len(rest)))]  # GPT-2's byte alphabet
    pieces = [*letters, *(letter + "</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        symbols = _merged([*word[:-1], word[-1] + "</w>"], merges)
        while len(symbols) > 1:
            merges.append((symbols[0], symbols[1]))
            pieces.append(symbols[0] + symbols[1])
            symbols = _merged(symbols, merges)
    return {piece: index for index, piece in enumerate([*dict.fromkeys(pieces), BEGIN, END])}, merges


def _merged(symbols: list[str], merges: list[tuple[str, str]]) -> list[str]:
    """Byte-pair encoding: join neighbours, those of the earliest merge first (Sennrich et al. 2016, algorithm 1)."""
    while pairs := [pair for pair in merges if pair in pairwise(symbols)]:
        index = 0
        while index < len(symbols) - 1:
            if (symbols[index], symbols[index + 1]) == pairs[0]:
                symbols[index : index + 2] = ["".join(pairs[0])]
            index += 1
    return symbols


def clip_tokenizer(*, pad_token: str = END) -> CLIPTokenizer:
    """A CLIP tokenizer of about 700 tokens. OpenAI's pads with the end of text, OpenCLIP's with `!`, which has id 0."""
    vocabulary, merges = clip_vocabulary()
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77, pad_token=pad_token)


def t5_tokenizer() -> T5Tokenizer:
    """A T5 tokenizer of about 150 pieces."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0)]
    pieces += [("▁" + word, -2.0) for word in WORDS]
    pieces += [(chr(code), -8.0) for code in range(0x21, 0x7F)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)
