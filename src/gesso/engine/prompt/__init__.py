"""The prompt language: from what people write to which text, at which weight, is read at which step.

| module | does |
|---|---|
| `brackets`, `grammar.lark` | which bracket closes which, and what that makes of them |
| `parse`, `tree` | text to syntax tree, and back without a loss |
| `steps` | syntax tree to the text of each step, in pieces with weights |
| `reading` | prompt and negative prompt as they are read from step to step |
| `networks` | `<lora:name:0.8>` |

The language is AUTOMATIC1111's; what ComfyUI reads is a small part of it, with weights that replace each other.
"""
