"""Recipes that other programs left in pictures, as requests of Gesso's.

| module | does |
|---|---|
| `values` | what comes out: a request, what was carried over to it, and what was not, with the reason |
| `read` | from the texts of a picture to that |
| `numbers` | values as they are written, read strictly |
| `samplers` | names of samplers and schedules of the four programs |
| `origin` | which program wrote a text of pairs |
| `pairs` | the pairs that AUTOMATIC1111, Forge and those that write like them leave |
| `hires` | their second pass |
| `refiner` | their refiner |
| `sdnext` | what SD.Next writes otherwise |
| `comfyui` | what the nodes of its graphs ask for |
| `here` | the model, VAE and networks that it names, as far as they are on this machine |
| `beginning` | the picture that it began with, once it is given |
| `fitting` | the recipe for the model that will make the picture |

Nothing is misread silently: every field of a text is carried over, or tells nothing that shapes the picture, or is left
out and named.
"""
