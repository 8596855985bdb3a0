"""Asks memory for what is read soon, so that many reads wait at once instead of one after another."""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from aiops.simulate.kernel.layout import Records

_BYTES, _FLAG = ir.IntType(8).as_pointer(), ir.IntType(32)
_READ, _KEEP, _DATA = _FLAG(0), _FLAG(3), _FLAG(1)


def _ask_for(_: object, records: Any, index: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ANN401
    """Ask for a record of an array by its place."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:  # noqa: ANN401
        first = context.make_array(signature.args[0])(context, builder, values[0]).data
        place = builder.bitcast(builder.gep(first, [values[1]]), _BYTES)
        kind = ir.FunctionType(ir.VoidType(), [_BYTES, _FLAG, _FLAG, _FLAG])
        make: Any = cgutils.get_or_insert_function
        builder.call(make(builder.module, kind, "llvm.prefetch.p0"), [place, _READ, _KEEP, _DATA])
        return context.get_dummy_value()

    return types.none(records, index), generate


ask_for = cast("Callable[[Records, int], None]", intrinsic(_ask_for))
"""Ask for a record of an array by its place; nothing waits for it."""
