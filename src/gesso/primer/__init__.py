"""The primer: a small world with ground truth, and the weights of a small model that was trained on it.

The pictures of this world can be described exactly (`scene`), put into words (`caption`) and drawn (`render`), so what
a model makes of a prompt can be compared with what was asked.
"""

from pathlib import Path


def weights_folder() -> Path:
    """The embedded model: a diffusers `StableDiffusionPipeline` folder, float16, inside this package."""
    return Path(__file__).parent / "weights"
