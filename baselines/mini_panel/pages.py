"""Pages: find the lines of writing, read them with a small network, and compare them with a title.

The reader is a convolutional network with CTC (Graves et al., ICML 2006) over lines scaled to 16 pixels of height.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mrb.baselines.mini_panel.pooling import HalvingPool

HEIGHT = 16
"""Pixels of height that a line is scaled to."""
CHARACTERS = "".join(chr(code) for code in range(33, 127))
SPACE = len(CHARACTERS) + 1
"""Class of everything that is not in CHARACTERS; class 0 is CTC's blank."""
STRIDE = 2
"""Columns of a line for each column of the network's output."""
_WIDEST = 700
_SQUEEZE = 0.8  # a line's width shrinks by this much more than its height
_DARK = 140  # below this grey a pixel is ink
_LOWEST = 5  # pixels of height below which ink is a rule, not a line
_AT_ONCE = 16
# Chosen on the development split.
_COVERED = 0.8
_STANDS_OUT = 0.3
_NUMBER = re.compile(r"^[\d.,\s]+")

Grey = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Line:
    """Where a line lies on a page, in pixels, and by how much it stands out: 0 for a line like most others."""

    top: int
    bottom: int
    left: int
    right: int
    prominence: float


def find_lines(page: Grey) -> list[Line]:
    """Return the lines of a page from top to bottom: runs of rows with ink.

    A line stands out if it is higher, or darker inside its box, than the median line of the page.
    """
    ink = page < _DARK
    edges = np.flatnonzero(np.diff(np.r_[False, ink.any(axis=1), False].astype(np.int8)))
    boxes = []
    for top, bottom in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if bottom - top >= _LOWEST:
            columns = np.flatnonzero(ink[top:bottom].any(axis=0))
            boxes.append((top, bottom, int(columns[0]), int(columns[-1]) + 1))
    if not boxes:
        return []
    heights = np.asarray([bottom - top for top, bottom, _, _ in boxes], np.float64)
    shares = np.asarray([ink[top:bottom, left:right].mean() for top, bottom, left, right in boxes])
    stands = np.maximum(heights / np.median(heights) - 1, 0) + np.maximum(shares / np.median(shares) - 1, 0) / 2
    return [Line(*box, prominence=float(stand)) for box, stand in zip(boxes, stands, strict=True)]


def crop_line(page: Grey, line: Line) -> Float32:
    """Return a line as float32[HEIGHT, width], ink 1 and paper 0."""
    return scale_line(page[max(0, line.top - 1) : line.bottom + 1, max(0, line.left - 3) : line.right + 3])


def scale_line(grey: Grey) -> Float32:
    """Crop a grey image to its ink and scale it to HEIGHT, ink 1 and paper 0."""
    from PIL import Image

    drawn = (255 - grey.astype(np.float32)) / 255
    rows, columns = np.flatnonzero((drawn > 0.3).any(axis=1)), np.flatnonzero((drawn > 0.3).any(axis=0))
    if not len(rows):
        return np.zeros((HEIGHT, 4 * STRIDE), np.float32)
    drawn = drawn[max(0, rows[0] - 1) : rows[-1] + 2, max(0, columns[0] - 2) : columns[-1] + 3]
    width = round(drawn.shape[1] * HEIGHT / drawn.shape[0] * _SQUEEZE)
    image = Image.fromarray((drawn * 255).astype(np.uint8))
    scaled = image.resize((min(max(width, 4 * STRIDE), _WIDEST), HEIGHT), Image.Resampling.BILINEAR)
    return np.asarray(scaled, np.float32) / np.float32(255)


class LineReader(nn.Module):
    """Lines, float32[n, 1, HEIGHT, width], to log-probabilities of classes, float32[n, classes, width / STRIDE]."""

    def __init__(self) -> None:
        super().__init__()

        def convolve(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
            )

        def slide(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv1d(inputs, outputs, 5, padding=2, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()
            )

        self.shapes = nn.Sequential(
            convolve(1, 24), HalvingPool(), convolve(24, 48), HalvingPool(rows_only=True), convolve(48, 80),
            HalvingPool(rows_only=True),
        )  # fmt: skip
        self.context = nn.Sequential(slide(160, 128), slide(128, 128), nn.Conv1d(128, SPACE + 1, 1))

    def forward(self, lines: Tensor) -> Tensor:
        """Return log-probabilities."""
        logits: Tensor = self.context(self.shapes(lines).flatten(1, 2))
        return logits.log_softmax(1)


def stack_lines(lines: Sequence[Float32]) -> tuple[Tensor, list[int]]:
    """Return lines padded with paper to one width, and how many columns of the output belong to each."""
    widest = max(line.shape[1] for line in lines)
    stacked = np.zeros((len(lines), 1, HEIGHT, widest + widest % STRIDE), np.float32)
    for row, line in enumerate(lines):
        stacked[row, 0, :, : line.shape[1]] = line
    held = torch.from_numpy(stacked).contiguous(memory_format=torch.channels_last)
    return held, [line.shape[1] // STRIDE for line in lines]


def decode_classes(classes: Sequence[int]) -> str:
    """Return the text of the best class of each column: repeats are one, blanks are left out."""
    kept = [now for before, now in zip([0, *classes], classes, strict=False) if now and now != before]
    return "".join(" " if one == SPACE else CHARACTERS[one - 1] for one in kept)


@dataclass(frozen=True)
class ReadLine:
    """What a line says, as letter trigrams, and by how much it stands out, at most 1."""

    trigrams: Counter[str]
    count: int
    prominence: float


@torch.no_grad()
def read_page(reader: LineReader, page: Grey) -> list[ReadLine]:
    """Read all lines of a page. Lines of about one width are read together."""
    lines = find_lines(page)
    crops = [crop_line(page, line) for line in lines]
    order = sorted(range(len(crops)), key=lambda row: crops[row].shape[1])
    read: dict[int, ReadLine] = {}
    for start in range(0, len(order), _AT_ONCE):
        some = order[start : start + _AT_ONCE]
        stacked, lengths = stack_lines([crops[row] for row in some])
        classes = reader(stacked).argmax(1)
        for row, own, length in zip(some, classes, lengths, strict=True):
            trigrams = count_trigrams(decode_classes(own[:length].tolist()))
            read[row] = ReadLine(trigrams, trigrams.total(), min(lines[row].prominence, 1.0))
    return [read[row] for row in range(len(lines))]


def count_trigrams(text: str) -> Counter[str]:
    """Count the trigrams of a text's letters and digits, without the number that it starts with."""
    kept = "".join(filter(str.isalnum, _NUMBER.sub("", text.lower())))
    return Counter(f" {kept} "[start : start + 3] for start in range(len(kept)))


def match_title(title: Counter[str], page: Sequence[ReadLine]) -> float:
    """Return how well the best line of a page fits a title, 0 to 1.3.

    A line fits by Dice's coefficient of the trigrams, or by 0.8 of the share of the title's trigrams that it has, if
    that is more. It counts up to 1.3 times as much if it stands out.
    """
    total, best = title.total(), 0.0
    for line in page:
        shared = sum(min(count, line.trigrams[gram]) for gram, count in title.items() if gram in line.trigrams)
        fit = max(2 * shared / max(total + line.count, 1), _COVERED * shared / max(total, 1))
        best = max(best, fit * (1 + _STANDS_OUT * line.prominence))
    return best
