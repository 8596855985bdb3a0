"""In which order a model's decisions are carried out, so that a refusal halfway leaves a pair that works."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from aiops.model.cycle import ModelCycle
from aiops.model.decision import Decision
from aiops.model.policy import Band, Mode
from aiops.model.refs import PoolRef, Role
from aiops.plan.sizing import out_of_band
from aiops.plan.state import ModelMemory

NOT_ALONE = (
    "nothing is taken from one role alone: the write for the other was refused, and the pair would leave its ratio band"
)


@dataclass(frozen=True, slots=True)
class Orders:
    """What is still to be written for one model.

    ``had`` are the replicas of its roles by now, as they were seen and as far as they were written since, ``meant``
    those that it shall have in the end; ``refusals`` count how often in a row the writes of a pool were refused.
    """

    pending: tuple[Decision, ...]
    had: Mapping[Role, int]
    meant: Mapping[Role, int]
    band: Band
    refusals: Mapping[PoolRef, int]

    def next(self, *, grow: bool) -> Decision | None:
        """Give the decision to carry out next among those that grow, or that shrink; None where none is left.

        First comes the one after which the pair is nearest to its band, should the other be refused, and of equals the
        one that was refused before. Growing is never withheld. A role shrinks only where the pair then stays as near to
        the band as it is or is meant to be, or where the other role is still to follow.
        """
        wanted = [one for one in self.pending if (one.change > 0 if grow else one.change < 0)]
        far = {one.pool: self._far({**self.had, one.role: one.desired or 0}) for one in wanted}
        bearable = max(self._far(self.had), self._far(self.meant))
        allowed = [one for one in wanted if grow or len(wanted) > 1 or far[one.pool] <= bearable]
        return min(allowed, key=lambda one: (far[one.pool], -self.refusals.get(one.pool, 0)), default=None)

    def after(self, decision: Decision, *, applied: bool) -> "Orders":
        """Give what is left after a decision was carried out, or refused."""
        pending = tuple(one for one in self.pending if one is not decision)
        had = {**self.had, decision.role: decision.desired or 0} if applied else self.had
        return replace(self, pending=pending, had=had)

    def _far(self, replicas: Mapping[Role, int]) -> float:
        """How many decode replicas the pair is away from its band; 0 for a pool alone."""
        if Role.PREFILL not in replicas or Role.DECODE not in replicas:
            return 0.0
        return out_of_band((replicas[Role.PREFILL], replicas[Role.DECODE]), self.band)


def orders_of(model: ModelCycle, memory: ModelMemory, band: Band) -> Orders:
    """Give what the model's mode allows to be carried out."""
    return Orders(
        pending=tuple(one for one in model.decisions if _may(model, one)),
        had={one.role: one.current for one in model.decisions if one.current is not None},
        meant={one.role: one.desired for one in model.decisions if one.desired is not None},
        band=band,
        refusals={pool.pool: pool.refusals for pool in memory.pools},
    )


def _may(model: ModelCycle, decision: Decision) -> bool:
    if not decision.acts:
        return False
    return model.mode is Mode.ACT or (model.mode is Mode.ACT_UP and decision.change > 0)
