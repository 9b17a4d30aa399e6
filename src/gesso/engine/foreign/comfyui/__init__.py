"""ComfyUI's graphs.

| module | does |
|---|---|
| `graph` | nodes and links, as they are sent to be run |
| `workflow` | the drawing of them, as far as it says the same |
| `walk` | the way from the saved picture back to where it began |
| `reading` | a graph while it is read: what was taken of it, and into which ledger |
| `levels` | the rule of a sampler and its noise levels |
| `sampling` | what the sampler that a picture began in asks for |
| `models` | the model that is loaded, and what is put onto it |
| `texts` | the prompts |
| `encoder` | the text encoder that reads them |
| `latents` | the size that it begins with, and the VAE that ends it |
| `second_pass` | a sampler that goes on from another |
| `refiner` | a sampler that makes the last steps with another model |
| `sweep` | what was not taken, with the reason |
| `carry` | all of that in turn |
"""
