"""`ocr-bm25`: OCR of the images, then BM25.

OCR is RapidOCR 1.4 with PP-OCRv4 (detection, direction, Chinese and English recognition), whose ONNX weights are in the
package rapidocr-onnxruntime (Apache-2.0, on PyPI). Run on its real weights here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version

from mrb.baselines._util.lazy_import import import_or_refuse
from mrb.baselines.retrievers.features import ImageCache
from mrb.baselines.retrievers.lexical import K1, B, score_bm25, tokenize
from mrb.data.items import ImageHandle, Item
from mrb.rerankers.model_card import ModelCard
from mrb.rerankers.reranker import Request

CACHE_IMAGES = 20_000
_INSTALL = (
    "pip install 'mrb[ocr]'; if it is a system library that is missing: apt-get install libgl1 libglib2.0-0, or "
    "pip install opencv-python-headless in place of opencv-python"
)


class OcrBM25:
    """BM25 of the query's text against the candidates' text, each extended by the text in its image.

    Covers: all inputs; an image without writing counts as an empty text, and pairs that share no word score 0. Setwise,
    because a word's weight depends on how many candidates contain it. Each distinct image is read once while it is
    among the last CACHE_IMAGES used.
    """

    card = ModelCard(
        checkpoint="PP-OCRv4, carried by the package rapidocr-onnxruntime",
        run_here="yes",
        extra="ocr",
        packages=("rapidocr_onnxruntime",),
    )
    kind = "setwise"
    max_images = None

    def __init__(self, k1: float = K1, b: float = B) -> None:
        library = import_or_refuse("ocr-bm25", "rapidocr_onnxruntime", _INSTALL)
        self.k1 = k1
        self.b = b
        self.version = f"1, rapidocr-onnxruntime {version('rapidocr-onnxruntime')}"
        self._reader = library.RapidOCR()
        self._read = ImageCache(self._read_lines, CACHE_IMAGES)
        self._words = lru_cache(maxsize=20_000)(tokenize)  # a document is a candidate of many queries

    def score(self, request: Request) -> Sequence[float]:
        """Return one BM25 score per candidate, 0 if no word is shared."""
        documents = [self._words(self._read_item(candidate)) for candidate in request.candidates]
        return score_bm25(self._words(self._read_item(request.query)), documents, self.k1, self.b)

    def _read_item(self, item: Item) -> str:
        return "\n".join([item.text, *(self._read(image) for image in item.images)])

    def _read_lines(self, image: ImageHandle) -> str:
        """Return the lines that OCR finds with a confidence of at least 0.5, from top to bottom."""
        lines, _ = self._reader(image.open())
        return "\n".join(line[1] for line in lines or ())
