"""How the inner loop is compiled: once, cached on disk under a name that changes with any of its sources."""

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def _cache_directory() -> str:
    # Numba renews a function when its own file changes, not when one changes that it calls; so the name holds all.
    sources = sorted(Path(__file__).parent.glob("*.py"))
    stamp = sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for root in (base / "aiops", Path(gettempdir()) / f"aiops-{os.getuid()}"):
        directory = root / f"kernel-{stamp}"
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(directory, os.W_OK):
            return str(directory)
    return ""


if "NUMBA_CACHE_DIR" not in os.environ:
    numba.config.CACHE_DIR = _cache_directory()  # type: ignore[attr-defined]  # numba sets its own by name


# No counting of references: nothing here makes an array, and counting those that are handed on takes longer than the
# work. Nor what would let C or, but for the entries, Python call a function. Numba has no types for these flags.
_compile: Any = numba.njit
_OPTIONS = {"error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True}


def compiled(function: Function) -> Function:
    """Compile a function for the types of its first call from a compiled one; Python cannot call it."""
    return cast("Function", _compile(no_cpython_wrapper=True, **_OPTIONS)(function))


def entry(function: Function) -> Function:
    """Compile a function that Python calls, and keep it on disk; it gives up the interpreter's lock while it runs."""
    return cast("Function", _compile(cache=True, nogil=True, **_OPTIONS)(function))


def inlined(function: Function) -> Function:
    """Compile a function wherever it is called, as if it stood there; so it can give records and arrays."""
    return cast("Function", _compile(inline="always", no_cpython_wrapper=True, **_OPTIONS)(function))
