"""TCD with its share of fresh noise as a property of the scheduler."""

from typing import Any

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_tcd import TCDScheduler
from torch import Tensor


class TrajectoryScheduler(TCDScheduler):
    """`TCDScheduler` of diffusers with gamma of Zheng et al. 2024 (arXiv 2402.19159) in its config.

    The class itself takes it with every step, and Stable Diffusion's pipelines hand 0 to whatever takes an `eta` there.
    """

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        beta_schedule: str = "scaled_linear",
        trained_betas: Any = None,
        original_inference_steps: int = 50,
        clip_sample: bool = False,
        clip_sample_range: float = 1.0,
        set_alpha_to_one: bool = True,
        steps_offset: int = 0,
        prediction_type: str = "epsilon",
        thresholding: bool = False,
        dynamic_thresholding_ratio: float = 0.995,
        sample_max_value: float = 1.0,
        timestep_spacing: str = "leading",
        timestep_scaling: float = 10.0,
        rescale_betas_zero_snr: bool = False,
        eta: float = 0.3,
    ) -> None:
        """As of the class above.

        Args:
            eta: 0 draws nothing, 1 draws all noise anew at every step.
        """
        own = {name: value for name, value in locals().items() if name not in {"self", "eta", "__class__"}}
        super().__init__(**own)

    def step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> Any:
        """As of the class above, with the config's `eta`."""
        return super().step(
            model_output, timestep, sample, eta=self.config["eta"], generator=generator, return_dict=return_dict
        )
