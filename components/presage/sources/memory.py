"""Memory for millions of numbers."""

from __future__ import annotations

import mmap
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)


def zeros(count: int, dtype: np.dtype[Number]) -> NDArray[Number]:
    """Return (count,) zeros, whose pages cost nothing before they are written to.

    numpy's own arrays ask for huge pages, and the kernel may move half of the memory to make room for one.
    """
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    return np.frombuffer(mmap.mmap(-1, max(1, count * dtype.itemsize), flags=flags), dtype=dtype, count=count)
