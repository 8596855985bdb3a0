"""How long a replica takes from order to ready, and what it does in that time."""

from datetime import timedelta
from enum import StrEnum
from math import exp, log

import numpy as np
from pydantic import Field, model_validator

from aiops.model.policy import ColdStart, Duration

_Z90 = 1.2815515655446004  # the standard normal's 0.9 quantile


class Stage(StrEnum):
    """What a pod that is bound to a node does before it is ready."""

    IMAGE = "image"
    WEIGHTS = "weights"
    COMPILE = "compile"


class ColdStartSpec(ColdStart):
    """Seconds from order to ready, lognormal, where GPUs are free at once.

    With the defaults half take 90 s and one in twenty more than 5 min. ``scheduling`` of
    it pass before the pod is bound to a node; the image is pulled in ``imageShare`` of the rest, weights are loaded in
    ``weightsShare``, and the remainder compiles. A pod that waits for GPUs takes as much longer. A container that
    starts anew has its image.
    """

    p90: Duration = timedelta(seconds=230)
    scheduling: Duration = timedelta(seconds=1)
    image_share: float = Field(default=0.2, ge=0, le=1)
    weights_share: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _whole(self) -> "ColdStartSpec":
        if self.image_share + self.weights_share > 1:
            raise ValueError("imageShare and weightsShare exceed 1 together")
        return self

    def stage(self, passed: float) -> Stage:
        """Tell what a pod is at after a share of its load time."""
        if passed < self.image_share:
            return Stage.IMAGE
        return Stage.WEIGHTS if passed < self.image_share + self.weights_share else Stage.COMPILE


class ColdStarts:
    """Draws cold starts, in the order of asking."""

    def __init__(self, spec: ColdStartSpec, draws: np.random.Generator) -> None:
        self.spec = spec
        self._draws = draws
        self._middle = log(spec.p50.total_seconds())
        self._spread = log(spec.p90.total_seconds() / spec.p50.total_seconds()) / _Z90

    def draw(self) -> tuple[float, float]:
        """Give the seconds until the scheduler looks at the pod, and those from its binding to ready."""
        whole_s = exp(self._middle + self._spread * self._draws.standard_normal())
        scheduling_s = min(self.spec.scheduling.total_seconds(), whole_s)
        return scheduling_s, whole_s - scheduling_s

    def redraw(self) -> float:
        """Give the seconds that a container takes which starts anew on its node."""
        return self.draw()[1] * (1 - self.spec.image_share)
