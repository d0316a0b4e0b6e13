"""The type of untrusted text that is shown on terminals and pages."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

# Control characters, and characters that change the direction of text.
_UNSEEN = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
PrintableStr = Annotated[str, Field(max_length=200, pattern=f"^[^{_UNSEEN}]*$")]
"""One line of visible text, up to 200 characters."""
