"""Random draws that are the same bits on every machine: bootstrap counts and sign flips from PCG64's raw words.

numpy guarantees the stream of raw 64-bit words, not the distribution methods on top of it. Sums are sums of multiples
of one power of two, small enough that float64 adds them without rounding, so that neither the size of a block nor the
matrix library's order of addition shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

BLOCK = 2**17
"""Counts or signs held at a time: 1 MB of float64, unless a draw alone is longer."""
_ROWS = 16
"""Draws of many units taken together at least: the table of values is read from memory once for all of them."""
_BAND = 2048  # units whose signs are drawn together, a multiple of 64; another number gives other signs


def on_grid(sums: Float64) -> tuple[Float64, float]:
    """`sums` [u, m] as integers in float64, and the size of one: small enough that sums of any u of them, and
    differences of two such sums, lose nothing in float64's 53 bits."""
    exponent = math.frexp(len(sums) * float(np.abs(sums).max()))[1] - 50
    return np.rint(np.ldexp(sums, -exponent)), math.ldexp(1.0, exponent)


def unit_counts(units: int, seed: int, resamples: int) -> Iterator[Float64]:
    """How often each unit is drawn, float64[block, units], for `resamples` draws of `units` with replacement.

    A draw is the high half of (32-bit word x units): uniform to one part in 2^32 / units.
    """
    words = (units + 1) // 2  # each draw starts on a fresh 64-bit word, so that blocks may be of any size
    generator = np.random.PCG64(seed)
    most = min(resamples, max(_ROWS, BLOCK // units))
    buffer = np.empty((most, units), np.uint64)
    offsets = np.arange(most)[:, np.newaxis] * units
    for rows in _blocks(resamples, most):
        halves = generator.random_raw(rows * words).astype("<u8", copy=False).view("<u4")
        # In place: what is written and read again is then still in the processor's cache.
        drawn = np.multiply(halves.reshape(rows, 2 * words)[:, :units], np.uint64(units), out=buffer[:rows])
        flat = np.right_shift(drawn, np.uint64(32), out=drawn).view(np.int64)
        flat += offsets[:rows]
        yield np.bincount(flat.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)


def _blocks(rows: int, most: int) -> Iterator[int]:
    """`rows` in portions of at most `most`."""
    for start in range(0, rows, most):
        yield min(most, rows - start)


def sign_flip(sums: Float64, seed: int, flips: int, *, rows: int | None = None) -> Float64:
    """Two-sided p values between the columns of `sums` (float64[u, m]) if each unit's sign could be the other one:
    float64[m, m], or the first `rows` rows of it."""
    whole, _ = on_grid(sums)
    units = len(whole)
    exact = units < 63 and 2**units <= flips
    observed = whole.sum(axis=0)
    flipped = observed - 2 * (_all_subsets(whole) if exact else _random_subsets(whole, seed, flips))
    # Rounding to the grid moves a sum by up to `units`: equal sums, observed and flipped, must count as equal.
    reach = np.abs(observed[:rows, np.newaxis] - observed) - 2 * units
    p = np.empty(reach.shape)
    for column in range(len(reach)):
        extreme = (np.abs(flipped[:, [column]] - flipped) >= reach[column]).sum(axis=0)
        p[column] = extreme / 2**units if exact else (1 + extreme) / (1 + flips)
    return p


def flipped_sums(whole: Float64, seed: int, flips: int) -> Float64:
    """The column sums of `whole` (float64[u, m], on the grid) under `flips` random choices of each row's sign:
    float64[flips, m]."""
    return np.asarray(whole.sum(axis=0) - 2 * _random_subsets(whole, seed, flips))


def _all_subsets(whole: Float64) -> Float64:
    """The column sums of every subset of the rows of `whole` (float64[u, m]): float64[2 ** u, m]."""
    chosen = np.arange(2 ** len(whole))[:, np.newaxis] >> np.arange(len(whole)) & 1
    return chosen.astype(np.float64) @ whole


def _random_subsets(whole: Float64, seed: int, flips: int) -> Float64:
    """The column sums of `flips` random subsets of the rows of `whole` (float64[u, m]): float64[flips, m].

    Taken a band of rows at a time: the band then stays in the processor's cache while all subsets pass over it.
    """
    sums = np.zeros((flips, whole.shape[1]))
    generator = np.random.PCG64(seed)
    for start in range(0, len(whole), _BAND):
        band = whole[start : start + _BAND]
        done = 0
        for rows in _blocks(flips, max(1, BLOCK // _BAND)):
            raw = generator.random_raw(rows * _BAND // 64).astype("<u8", copy=False).view(np.uint8)
            chosen = np.unpackbits(raw.reshape(rows, -1), axis=1, count=len(band), bitorder="little")
            sums[done : done + rows] += chosen.astype(np.float64) @ band
            done += rows
    return sums
