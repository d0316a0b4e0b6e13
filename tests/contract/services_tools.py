"""What the tests of services and of small real models share: requests as the harness makes them, pictures, `mrb`."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mrb.declaration import LoadedReranker
from mrb.decode import ImageCaps
from mrb.evaluate.plan import Asked, Entry
from mrb.evaluate.score import score_all
from mrb.items import ImageHandle
from mrb.reranker import Request


def harness(reranker: LoadedReranker, requests: Sequence[Request]) -> dict[int, list[float]]:
    """Each request's scores by its key, as the harness asks and checks them; query `q7` has the key 7."""
    asked = []
    for request in requests:
        ids = [f"d{n}" for n in range(len(request.candidates))]
        entry = Entry(f"q{request.key}", ids, np.zeros(len(ids), np.float32))
        asked.append(Asked(request, entry, np.arange(len(ids))))
    return {item.request.key: scores.tolist() for item, scores in score_all(reranker, asked, "toy")}


def picture(image: Image.Image, kind: str = "PNG", caps: ImageCaps | None = None, **options: Any) -> ImageHandle:
    """`image` as the file that a data set would hold."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return ImageHandle(buffer.getvalue, where="test", caps=caps)


def mrb(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The installed command, in `folder`."""
    command = [str(Path(sys.executable).with_name("mrb")), *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
