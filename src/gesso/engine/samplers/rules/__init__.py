"""The rules by name: one file for each update of a sample."""

from collections.abc import Mapping
from types import MappingProxyType

from gesso.engine.samplers.rules import (
    deis,
    dpm2,
    dpm2_ancestral,
    dpmpp_2m,
    dpmpp_2m_sde,
    dpmpp_2s_ancestral,
    dpmpp_3m_sde,
    dpmpp_sde,
    euler,
    euler_ancestral,
    heun,
    lms,
    plms,
    unipc,
)
from gesso.engine.samplers.rules.base import Rule

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "euler": euler.RULE,
        "euler_ancestral": euler_ancestral.RULE,
        "heun": heun.RULE,
        "lms": lms.RULE,
        "dpm2": dpm2.RULE,
        "dpm2_ancestral": dpm2_ancestral.RULE,
        "dpmpp_2m": dpmpp_2m.RULE,
        "dpmpp_sde": dpmpp_sde.RULE,
        "dpmpp_2m_sde": dpmpp_2m_sde.RULE,
        "dpmpp_2m_sde_heun": dpmpp_2m_sde.HEUN,
        "dpmpp_3m_sde": dpmpp_3m_sde.RULE,
        "dpmpp_2s_ancestral": dpmpp_2s_ancestral.RULE,
        "plms": plms.RULE,
        "unipc": unipc.RULE,
        "deis": deis.RULE,
    }
)
