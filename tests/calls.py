"""What results of calls are compared with."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

import clconv
from clconv.reference import reference


def assert_same(y: Any, want: Any) -> None:
    """Equal but for rounding: the library may choose a method that is not exact on integers, and 16-bit types round.

    Winograd's method on tiles of 6 x 6 is off by up to 4e-4 where sums reach 80 (a GPU by NVIDIA); wrong sums are off by 1.
    """
    eps = {np.dtype(np.float16): 2.0**-11, np.dtype(ml_dtypes.bfloat16): 2.0**-8}.get(y.dtype, 0.0)
    np.testing.assert_allclose(np.asarray(y, "d"), np.asarray(want, "d"), rtol=eps, atol=1e-3)


def expected(x: Any, w: Any, bias: Any = None, residual: Any = None, **options: Any) -> Any:
    problem = clconv.ConvProblem(x.shape, w.shape, bias=bias is not None, residual=residual is not None, **options)
    return reference(problem, x, w, bias, residual)
