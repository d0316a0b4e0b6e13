"""Makes the weights of mini-panel from what packages carry, one part after the other, on one core.

    python -m mrb.baselines.mini_panel.train --out FOLDER
    mrb run --model mini-panel --set path=FOLDER

A part that `record.json` names is not made again, so the same command continues what was stopped. The record says how
long each part took, and how many times test or development data were met in its data and left out.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from mrb._util.files import read_json, write_json
from mrb.baselines.mini_panel.train_drawings import train_drawings
from mrb.baselines.mini_panel.train_flags import train_flags
from mrb.baselines.mini_panel.train_pages import find_fonts, train_reader
from mrb.baselines.mini_panel.train_texts import count_words, round_encoder, train_kinds
from mrb.baselines.mini_panel.training_data import HeldOut
from mrb.baselines.mini_panel.weights import ENCODER, FILES, VOCABULARY, WORDS, load_encoder, save_network
from mrb.errors import MRBError

logger = logging.getLogger(__name__)
RECORD = "record.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the weights")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(1)
    try:
        make_weights(given.out, given.seed)
    except MRBError as error:
        parser.exit(2, f"{error}\n")


def make_weights(
    folder: Path,
    seed: int = 0,
    steps: int | None = None,
    *,
    fonts: Sequence[Path | None] | None = None,
    copies: int | None = None,
) -> None:
    """Make all parts that are not in a folder.

    Args:
        folder: Where the files are written.
        seed: Of weights, order and distortions.
        steps: Of each part; by default as many as each needs.
        fonts: As in `train_reader`; by default `find_fonts()`.
        copies: As in `train_flags`.

    Raises:
        TrainingError: A package with fonts is not installed; nothing is trained then.
    """
    fonts = find_fonts() if fonts is None else fonts
    folder.mkdir(parents=True, exist_ok=True)
    held_out = HeldOut()
    limit = {} if steps is None else {"steps": steps}
    makers: dict[str, Callable[[], nn.Module | None]] = {
        "texts": lambda: _write_texts(folder, held_out),
        "kinds": lambda: train_kinds(load_encoder(folder), held_out, seed, **limit),
        "flags": lambda: train_flags(held_out, seed, copies=copies, **limit),
        "drawings": lambda: train_drawings(held_out, seed, **limit),
        "pages": lambda: train_reader(held_out, fonts, seed, **limit),
    }
    for part, make in makers.items():
        _make_part(folder, part, make, held_out, seed)
    logger.info(f"{folder}: {sum((folder / name).stat().st_size for name in FILES) / 1e6:.1f} MB")


def _make_part(folder: Path, part: str, make: Callable[[], nn.Module | None], held_out: HeldOut, seed: int) -> None:
    record = folder / RECORD
    held: dict[str, Any] = read_json(record) if record.exists() else {}
    if part in held:
        logger.info(f"{part}: is in {folder}")
        return
    held_out.hits.clear()
    wall, cpu = time.monotonic(), time.process_time()
    net = make()
    if net is not None:
        save_network(folder, part, net)
    held[part] = {
        "seed": seed,
        "seconds": round(time.monotonic() - wall),
        "cpu_seconds": round(time.process_time() - cpu),
        "parameters": None if net is None else sum(weight.numel() for weight in net.parameters()),
        "left_out": dict(sorted(held_out.hits.items())),
    }
    write_json(record, held)
    logger.info(f"{part}: done in {held[part]['seconds']} s")


def _write_texts(folder: Path, held_out: HeldOut) -> None:
    weights, vocabulary = round_encoder(held_out)
    save_file(weights, folder / ENCODER)
    (folder / VOCABULARY).write_text("\n".join(vocabulary) + "\n", "utf-8")
    count_words(held_out).write(folder / WORDS)


if __name__ == "__main__":
    main()
