"""Builds KEDA; ``python -m tests.keda.build`` does it ahead of the tests."""

from pathlib import Path

from tests.cluster.build import Recipe, main

_KEDA = "github.com/kedacore/keda/v2"
KEDA = Recipe(
    folder=Path(__file__).parent / "binaries",
    programs={"keda-operator": f"{_KEDA}/cmd/operator", "keda-adapter": f"{_KEDA}/cmd/adapter"},
    data={"config": (_KEDA, "config")},
)
# What KEDA accepts, without KEDA: nothing is compiled.
KEDA_DEFINITIONS = Recipe(folder=KEDA.folder, programs={}, data={"definitions": (_KEDA, "config/crd/bases")})

if __name__ == "__main__":
    main(KEDA)
