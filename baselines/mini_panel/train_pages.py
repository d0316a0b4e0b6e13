"""Training of the line reader, on lines drawn with fonts that packages carry and on words of the training texts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mrb.baselines.mini_panel.fit import fit_network
from mrb.baselines.mini_panel.pages import CHARACTERS, SPACE, Float32, LineReader, scale_line, stack_lines
from mrb.baselines.mini_panel.training_data import HeldOut, list_texts
from mrb.errors import TrainingError

if TYPE_CHECKING:
    from PIL import ImageFont

STEPS = 2500
BATCH = 32
RATE = 3e-3
_FONTS = (
    ("matplotlib", "mpl-data/fonts/ttf", "DejaVuS*.ttf STIXGeneral*.ttf cmr10.ttf cmb10.ttf cmss10.ttf cmtt10.ttf"),
    ("font_source_sans_pro", "files", "*Pro-Regular.ttf *Pro-It.ttf *Pro-Semibold.ttf *Pro-Bold.ttf"),
    ("font_source_serif_pro", "files", "*Pro-Regular.ttf *Pro-It.ttf *Pro-Semibold.ttf *Pro-Bold.ttf"),
    ("font_roboto", "files", "Roboto-Regular.ttf Roboto-Italic.ttf Roboto-Bold.ttf"),
)
_LONGEST = 22  # characters of a drawn line
_CLASS = {character: number for number, character in enumerate(CHARACTERS, 1)}


def find_fonts() -> list[Path]:
    """Return the font files that are drawn with. Raises TrainingError if a package is missing."""
    found = []
    for package, folder, patterns in _FONTS:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise TrainingError(f"the package {package} with fonts is not installed; pip install 'mrb[panel]'")
        files = [path for one in patterns.split() for path in (Path(spec.origin).parent / folder).glob(one)]
        found += [path for path in files if "Display" not in path.name]
    return sorted(found)


def train_reader(held_out: HeldOut, fonts: Sequence[Path | None], seed: int = 0, steps: int = STEPS) -> LineReader:
    """Return a trained reader. `fonts` are files (`find_fonts()`), None is the one that Pillow carries."""
    torch.manual_seed(seed)
    draw = LineDrawer(held_out, fonts, seed)
    reader = LineReader()

    def compute_loss() -> Tensor:
        lines, texts = zip(*(draw.draw_line() for _ in range(BATCH)), strict=True)
        stacked, lengths = stack_lines(lines)
        classes = [[_CLASS.get(character, SPACE) for character in text] for text in texts]
        return nn.functional.ctc_loss(
            reader(stacked).permute(2, 0, 1),
            torch.tensor([one for text in classes for one in text]),
            torch.tensor(lengths),
            torch.tensor([len(text) for text in classes]),
            zero_infinity=True,
        )

    fit_network("pages", reader, steps, compute_loss, rate=RATE, decay=0.01, warmup=0.05, clip=5.0)
    return reader


class LineDrawer:
    """Draws short lines of random words, degraded as a page of 720 pixels of width is."""

    def __init__(self, held_out: HeldOut, fonts: Sequence[Path | None], seed: int) -> None:
        texts = list_texts("faq-t2t", held_out)
        words = [word for text in texts for word in text.split()]
        self._words = [word for word in words if len(word) < 18 and set(word) <= _CLASS.keys()]
        self._held_out = held_out
        self._fonts = fonts
        self._bold = [font for font in fonts if font and ("Bol" in font.name or font.name == "cmb10.ttf")] or fonts
        self._random = random.Random(seed)  # noqa: S311
        self._noise = np.random.default_rng(seed)
        self._load = lru_cache(maxsize=None)(_load_font)

    def draw_line(self) -> tuple[Float32, str]:
        """Return a line and what it says. No line says what a held-out item says."""
        from PIL import Image, ImageDraw

        choose = self._random.choice
        text = self._make_text()
        while self._held_out.has_text(text):
            text = self._make_text()
        font = self._load(choose(self._bold if self._random.random() < 0.5 else self._fonts), choose((20, 24, 30, 36)))
        left, top, right, bottom = (int(edge) for edge in font.getbbox(text))
        image = Image.new("L", (right - left + 8, bottom - top + 8), 255)
        ImageDraw.Draw(image).text((4 - left, 4 - top), text, font=font, fill=choose((0, 0, 0, 40)))
        height = self._random.randint(9, 18)
        width = round(image.width * height / image.height * self._random.uniform(0.87, 1.13))
        ways = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS)
        small = np.asarray(image.resize((max(8, width), height), choose(ways)), np.float32)
        small = small + self._noise.normal(0, 4, small.shape).astype(np.float32)
        levels = choose((7, 15))  # pages have few greys
        grey = (np.round(small / 255 * levels) / levels * 255).clip(0, 255).astype(np.uint8)
        return scale_line(grey), text

    def _make_text(self) -> str:
        kind = self._random.random()
        if kind < 0.15:
            numbers = ".".join(str(self._random.randint(1, 20)) for _ in range(self._random.randint(1, 4)))
            return f"{numbers} {self._random.choice(self._words)}"[:_LONGEST].strip()
        words = [self._random.choice(self._words) for _ in range(self._random.randint(1, 3))]
        if kind < 0.45:
            words = [word[:1].upper() + word[1:] for word in words]
        text = " ".join(words)
        return (text.upper() if 0.45 <= kind < 0.5 else text)[:_LONGEST].strip()


def _load_font(path: Path | None, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size) if path is None else ImageFont.truetype(str(path), size)
