"""Finds what is wrong with a model, and says why. One detector a file; a new one is one more line in ``DETECTORS``."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from aiops.detect import blind, cold_cache, hotspot, routing_skew, saturation
from aiops.detect.ages import Sighting, sight, with_ages
from aiops.detect.debounce import Watched, debounce
from aiops.detect.diagnosis import diagnose
from aiops.detect.suspicion import Suspicion
from aiops.model.detection import Detection
from aiops.model.snapshot import ModelSnapshot

__all__ = ["DETECTORS", "DetectMemory", "Suspicion", "diagnose", "look"]

DETECTORS: tuple[Callable[[ModelSnapshot, datetime], tuple[Suspicion, ...]], ...] = (
    hotspot.suspect,
    routing_skew.suspect,
    saturation.suspect,
    cold_cache.suspect,
    blind.suspect,
)


@dataclass(frozen=True, slots=True)
class DetectMemory:
    """What the next look at one model needs of the earlier ones: what was suspected lately, and who has been there.

    Bounded by the replicas that the model had in the last minutes.
    """

    watched: tuple[Watched, ...] = ()
    sightings: tuple[Sighting, ...] = ()


def look(model: ModelSnapshot, at: datetime, memory: DetectMemory) -> tuple[tuple[Detection, ...], DetectMemory]:
    """Give a model's open findings, none twice, by kind and then by subject, and the memory for its next look.

    ``memory`` is this model's own. Of a blind model nothing but that is suspected anew: its numbers may not be used.
    """
    sightings = sight(model, at, memory.sightings)
    detectors = (blind.suspect,) if model.blind else DETECTORS
    aged = with_ages(model, at, sightings)
    suspicions = [suspicion for suspect in detectors for suspicion in suspect(aged, at)]
    watched = debounce(suspicions, at, memory.watched, blind=bool(model.blind))
    found = tuple(one.suspicion.detection(one.since) for one in watched if one.open)
    return found, DetectMemory(watched, sightings)
