"""Bootstrap counts and random signs that are bit-identical on every machine, from PCG64's raw words.

numpy guarantees the stream of raw 64-bit words, but not the distribution methods on top of it. All summands are
multiples of one power of two, small enough that float64 adds them without rounding. So results do not depend on the
block size or on the order in which a matrix library adds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

BLOCK = 2**17
"""Number of counts or signs in memory at a time: 1 MB of float64, more only if one resample alone is longer."""
_ROWS = 16
"""Fewest resamples per block when there are many units: each block reads the table of values from memory once."""
_BAND = 2048  # units whose signs are drawn together; another value changes the signs


def round_to_grid(sums: Float64) -> tuple[Float64, float]:
    """Return `sums` (float64[u, m]) as integers in float64, and the size of the unit.

    The integers are small enough that sums of any u of them, and differences of such sums, are exact in float64.
    """
    exponent = math.frexp(len(sums) * float(np.abs(sums).max()))[1] - 50
    return np.rint(np.ldexp(sums, -exponent)), math.ldexp(1.0, exponent)


def draw_bootstrap_counts(units: int, seed: int, resamples: int) -> Iterator[Float64]:
    """Yield how often each unit is in each resample, float64[block, units]; there are `resamples` rows in total.

    Each resample has `units` units, drawn with replacement. The drawn unit is the high half of (32-bit word x units),
    which is uniform to one part in 2^32 / units.
    """
    words = (units + 1) // 2  # each resample starts with a new 64-bit word, so the block size does not change it
    generator = np.random.PCG64(seed)
    most = min(resamples, max(_ROWS, BLOCK // units))
    buffer = np.empty((most, units), np.uint64)
    offsets = np.arange(most)[:, np.newaxis] * units
    for rows in _blocks(resamples, most):
        halves = generator.random_raw(rows * words).astype("<u8", copy=False).view("<u4")
        # In place, so that the data stays in the processor's cache.
        drawn = np.multiply(halves.reshape(rows, 2 * words)[:, :units], np.uint64(units), out=buffer[:rows])
        flat = np.right_shift(drawn, np.uint64(32), out=drawn).view(np.int64)
        flat += offsets[:rows]
        yield np.bincount(flat.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)


def _blocks(rows: int, most: int) -> Iterator[int]:
    """Yield block sizes of at most `most` that sum to `rows`."""
    for start in range(0, rows, most):
        yield min(most, rows - start)


def sum_with_random_signs(whole: Float64, seed: int, flips: int) -> Float64:
    """Return the column sums of `whole` (float64[u, m], on the grid) with random row signs: float64[flips, m].

    Works on one band of rows at a time, which stays in the processor's cache for all flips.
    """
    sums = np.zeros((flips, whole.shape[1]))
    generator = np.random.PCG64(seed)
    for start in range(0, len(whole), _BAND):
        band = whole[start : start + _BAND]
        words = (len(band) + 63) // 64  # each flip starts with a new word, so the block size does not change it
        done = 0
        for rows in _blocks(flips, max(1, BLOCK // len(band))):
            raw = generator.random_raw(rows * words).astype("<u8", copy=False).view(np.uint8)
            chosen = np.unpackbits(raw.reshape(rows, -1), axis=1, count=len(band), bitorder="little")
            sums[done : done + rows] += chosen.astype(np.float64) @ band
            done += rows
    return np.asarray(whole.sum(axis=0) - 2 * sums)
