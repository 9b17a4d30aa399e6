"""Conditioning by one CLIP text encoder: Stable Diffusion 1.x and 2.x, and the primer."""

from typing import Any

from gesso.engine.conditioning.base import Encoded, TextModel, hidden_layer, reader
from gesso.engine.conditioning.texts import Texts
from gesso.engine.conditioning.weighting import text_rows, weigh


def encode_texts(model: TextModel, texts: Texts, *, clip_skip: int) -> Encoded:
    """Embeddings of B texts: [B, 77 K, C].

    Clip skip n > 1 reads hidden state -n and then the final layer norm, for all texts (diffusers' own `clip_skip`
    leaves the negative prompt alone). Stable Diffusion 2's encoder was saved one layer short, so 1 is right there too.

    Raises:
        InputError: a clip skip beyond the layers of the encoder.
    """
    tokenizer, encoder = reader(model)
    (rows,) = text_rows([(tokenizer, encoder)], texts)
    options: dict[str, Any] = {}
    if getattr(encoder.config, "use_attention_mask", False):  # a few conversions of other encoders ask for it
        options["attention_mask"] = rows.mask.to(model.device)
    ids = rows.ids.to(model.device)
    if clip_skip == 1:
        states = encoder(ids, **options).last_hidden_state  # [B * K, P, C]
    else:
        found = encoder(ids, output_hidden_states=True, **options).hidden_states
        states = model.part("text_encoder.final_layer_norm")(hidden_layer(found, clip_skip=clip_skip))
    return Encoded.of_rows(model, weigh(states, rows, texts))
