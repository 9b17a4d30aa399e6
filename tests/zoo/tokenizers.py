"""Small tokenizers with the layouts of the released ones."""

# transformers annotates merges as strings and takes pairs.
# pyright: reportArgumentType=false

from itertools import pairwise

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    BertTokenizer,
    CLIPTokenizer,
    GemmaTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    T5Tokenizer,
)

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


def _joined(words: list[str], pieces: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Ids of `pieces` and of whatever it takes to make each of `words` one, and the merges that do."""
    merges: list[tuple[str, str]] = []
    for word in words:
        symbols = _merged(list(word), merges)
        while len(symbols) > 1:
            merges.append((symbols[0], symbols[1]))
            pieces.append(symbols[0] + symbols[1])
            symbols = _merged(symbols, merges)
    return {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}, merges


def gemma_tokenizer() -> GemmaTokenizer:
    """A Gemma tokenizer of about 600 pieces: pads on the left, begins with a token and ends with none."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581"]
    pieces += [chr(code) for code in range(0x21, 0x7F)]
    vocabulary, merges = _joined(["\u2581" + word for word in WORDS if word.isalpha()], pieces)
    return GemmaTokenizer(vocab=vocabulary, merges=merges, model_max_length=8192)


def bpe_tokenizer(*, padding_side: str = "right") -> PreTrainedTokenizerFast:
    """Byte-level pairs without a class of their own, as GLM's and Llama 3's are saved. Pads with its end of text."""
    end, begin = "<|endoftext|>", "<|begin|>"
    space = "\u0120"  # in GPT-2's byte alphabet
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary, merges = _joined([space + word for word in WORDS if word.isalpha()], [end, begin, *letters])
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, vocabulary[begin])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=end, pad_token=end, padding_side=padding_side, model_max_length=8192
    )


def bert_tokenizer() -> BertTokenizer:
    """A BERT tokenizer of about 250 pieces."""
    letters = [chr(code) for code in range(0x21, 0x7F)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, *("##" + letter for letter in letters)]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return BertTokenizer(vocab=vocabulary, model_max_length=77)


_SPACE = "\u0120"  # a space in GPT-2's byte alphabet
_CHAT_WORDS = ("system", "user", "assistant")
_DESCRIBE = (
    "Describe the image by detailing the color shape size texture quantity text spatial relationships of the objects "
    "and background"
)
"""Words of Qwen-Image's instruction: one token each, as in the released vocabulary, since the pipeline counts them."""
_EDIT = (
    "Describe the key features of the input image color shape size texture objects background then explain how the "
    "user text instruction should alter or modify the image Generate a new image that meets the requirements while "
    "maintaining consistency with original input where appropriate"
)
"""The same of Qwen-Image-Edit's."""
_QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
_MISTRAL_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}[SYSTEM_PROMPT]{{ message['content'][0]['text'] }}[/SYSTEM_PROMPT]"
    "{% else %}[INST]{{ message['content'][0]['text'] }}[/INST]{% endif %}{% endfor %}"
)


def _chat_vocabulary(specials: list[str], further: str = "") -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Every byte, then whatever makes a token of each word, alone and after a space."""
    words = [*WORDS, *_CHAT_WORDS, *_DESCRIBE.split(), *further.split()]
    spelt = [spelling for word in dict.fromkeys(words) if word.isalpha() for spelling in (word, _SPACE + word)]
    return _joined(spelt, [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())])


def qwen_tokenizer(*, pictures: bool = False) -> Qwen2Tokenizer:
    """A Qwen tokenizer of about 700 tokens, with the chat template of Qwen 3 as far as text goes.

    Args:
        pictures: with the tokens that stand for a picture, and the words of the instruction to edit one.
    """
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    special = specials[1:3]
    if pictures:
        special += ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
        specials += special[2:]
    vocabulary, merges = _chat_vocabulary(specials, _EDIT if pictures else "")
    if pictures:
        for pair in ((_SPACE, "("), ("'", "s"), (")", ",")):
            merges.append(pair)
            vocabulary["".join(pair)] = len(vocabulary)
    return Qwen2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        additional_special_tokens=special,
        chat_template=_QWEN_TEMPLATE,
        model_max_length=131072,
    )


def mistral_tokenizer() -> PreTrainedTokenizerFast:
    """A Mistral tokenizer of about 700 tokens, with the chat template of Mistral Small 3 as far as text goes."""
    specials = ["<unk>", "<s>", "</s>", "<pad>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[IMG]"]
    vocabulary, merges = _chat_vocabulary(specials)
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=specials[4:],
        chat_template=_MISTRAL_TEMPLATE,
        model_max_length=131072,
    )
