"""The prior that ships with aiops."""

from functools import lru_cache

from aiops.forecast.prior_codec import decode
from aiops.model.prior import Prior
from aiops.observe.packaged import packaged

PRIOR_FILE = ("policies", "priors", "demand.prior")


@lru_cache(maxsize=1)
def shipped_prior() -> Prior:
    """Read the shipped prior, once. ValueError, FileNotFoundError where the installation is damaged."""
    return decode(packaged(*PRIOR_FILE).read_bytes())
