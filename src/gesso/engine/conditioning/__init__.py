"""Conditioning: a prompt becomes the embeddings that a pipeline takes instead of it.

The engine computes them itself, since pipelines cut long prompts. One module for each way in which families read text,
each with one function of the same signature, named in the data of the family:

    encode_texts(model, texts, *, clip_skip) -> of each text what the pipeline's `__call__` takes instead of it

| module | families | reads |
|---|---|---|
| `clip` | SD 1.x, SD 2.x, the primer | the last layer of CLIP |
| `clip_pair` | SDXL | the penultimate layers of two CLIPs side by side |
| `triple` | SD 3, 3.5 | two CLIPs, then T5 |
| `clip_t5` | Flux.1 | T5, and CLIP's summary |
| `z_image` | Z-Image | Qwen 3 |
| `flux2` | Flux.2 dev | Mistral Small 3 |
| `flux2_klein` | Flux.2 klein | Qwen 3 |
| `qwen_image` | Qwen-Image | Qwen 2.5 VL |
| `qwen_image_edit` | Qwen-Image-Edit | Qwen 2.5 VL, which reads the picture too |

A prompt that fits the encoder gives what the unmodified pipeline's `encode_prompt` gives, to rounding: prompt and
negative prompt go through CLIP and T5 as rows of one call, which may round in another order than two calls. Language
models read each text by itself, and give its very bytes.
"""

from gesso.engine.conditioning.base import Part, TextEncoder, TextModel, Tokenizer

__all__ = ["Part", "TextEncoder", "TextModel", "Tokenizer"]
