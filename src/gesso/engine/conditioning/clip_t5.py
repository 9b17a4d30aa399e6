"""Conditioning by T5, with CLIP for the summary: Flux.1."""

from gesso.engine.conditioning.base import Encoded, TextModel, reader, refuse_clip_skip
from gesso.engine.conditioning.chunks import weighted_rows
from gesso.engine.conditioning.t5 import encode_t5
from gesso.engine.conditioning.texts import Texts, joined

T5_LENGTH = 512


def encode_texts(model: TextModel, texts: Texts, *, clip_skip: int) -> Encoded:
    """Embeddings [1, L, C] of T5 and pooled [1, C] of CLIP's first chunk, which has no weights, of each text.

    There are negative prompts with true classifier-free guidance only; the guidance that Flux dev takes as an input of
    its network needs none.

    Raises:
        InputError: a clip skip; no hidden state of CLIP is read here.
    """
    refuse_clip_skip(clip_skip)
    tokenizer, encoder = reader(model)
    (rows,) = weighted_rows([(tokenizer, encoder)], joined(texts.groups), texts.dialect)
    first = rows.ids[:: rows.chunks]  # [B, P]
    pooled = encoder(first.to(model.device)).pooler_output
    embeds = encode_t5(model, *reader(model, "_2"), texts, usual_length=T5_LENGTH)
    return Encoded.of_rows(model, embeds, pooled)
