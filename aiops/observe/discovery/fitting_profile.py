"""Which of the profiles that ship is one of the engines that were found, if any is."""

from collections.abc import Mapping

from aiops.model.profile import CapacityProfile

_KV_TOLERANCE = 0.1
_TUNED = ("-instruct", "-chat", "-it")
_OTHER_FORMS = ("pcie", "nvl", "sxm")


def fitting_profile(
    profiles: Mapping[str, CapacityProfile], model: str, accelerator: str, gpus: int | None, kv_tokens: float | None
) -> tuple[str | None, str]:
    """Find the profile of this model on this hardware: its name, or None, and why there is none.

    The size of the KV cache, where engines tell it, must be about the profile's: other memory or other flags have
    other times.
    """
    same = {name: profile for name, profile in profiles.items() if _plain(profile.model) == _plain(model)}
    if not same:
        return None, f"no profile that ships is of {model}"
    if not accelerator:
        return None, f"{_listed(same)} may fit, but which GPU it runs on is not known"
    fitting = {
        name: profile
        for name, profile in same.items()
        if _is_on(profile.accelerator, accelerator) and profile.tensor_parallel == gpus
    }
    if not fitting:
        return None, f"{_listed(same)} is of this model, but not of {gpus or 'an unknown number of'} × {accelerator}"
    for name, profile in fitting.items():
        if kv_tokens is None or abs(kv_tokens / profile.kv_tokens - 1.0) <= _KV_TOLERANCE:
            return name, ""
    ((name, profile), *_) = fitting.items()
    return None, (
        f"{name} is of this model and GPU, but these engines hold {kv_tokens:.0f} tokens in their KV cache and not "
        f"{profile.kv_tokens}"
    )


def _plain(model: str) -> str:
    name = model.rpartition("/")[2].lower()
    return next((name.removesuffix(end) for end in _TUNED if name.endswith(end)), name)


def _is_on(of_profile: str, product: str) -> bool:
    """Compare ``h100_sxm`` with what a node is labelled with, such as ``NVIDIA-H100-80GB-HBM3``."""
    family, _, form = of_profile.lower().partition("_")
    found = product.lower()
    others = [other for other in _OTHER_FORMS if other != form]
    return family in found and not any(other in found for other in others)


def _listed(profiles: Mapping[str, CapacityProfile]) -> str:
    return " or ".join(sorted(profiles))
