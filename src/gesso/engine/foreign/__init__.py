"""Recipes that other programs left in pictures, as requests of Gesso's.

| module | does |
|---|---|
| `values` | what comes out: a request, what was carried over to it, and what was not, with the reason |
| `read` | from the texts of a picture to that; which program it was |
| `numbers` | values as they are written, read strictly |
| `samplers` | names of samplers and schedules of the four programs |
| `pairs` | the pairs that AUTOMATIC1111, Forge and those that write like them leave |
| `hires` | their second pass |
| `sdnext` | what SD.Next writes otherwise |
| `graph` | ComfyUI's graph of nodes |
| `workflow` | ComfyUI's drawing of it, as far as it says the same |
| `comfyui` | what the nodes of a graph ask for |
| `second_pass` | a sampler of a graph that goes on from another |
| `fitting` | the model, VAE and networks that are here, and what the model does not take |

Nothing is misread silently: every field of a text is carried over, or tells nothing that shapes the picture, or is left
out and named.
"""
