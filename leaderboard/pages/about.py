"""The page that explains how to read the board, and the one that says how to get onto it."""

from __future__ import annotations

from collections.abc import Iterator

from mrb.leaderboard.page import Page, render
from mrb.leaderboard.site import Site
from mrb.leaderboard.snapshots import INDEX, INDEX_OF_SNAPSHOT

SUBMIT = "submit.html"
STEPS = (
    ("Run the model", "mrb run --model surface --suite mini"),
    (
        "Make the submission",
        (
            "mrb submission make runs/surface --organisation example-lab --model-name surface --kind other "
            "--licence Apache-2.0 --links https://example.org/surface"
        ),
    ),
    ("Check it as the board will", "mrb submission validate submissions/example-lab__surface"),
    (
        "Let somebody verify it with the model",
        "mrb submission verify submissions/example-lab__surface --model surface --queries 5",
    ),
    ("Look at its page", "mrb leaderboard build submissions runs/surface --out site"),
)
"""What each command is for, and the commands of `docs/submitting.md`."""


def make_files(site: Site) -> Iterator[Page]:
    """Yield both pages."""
    yield render(
        "about.html.jinja",
        "about.html",
        site=site,
        submit=SUBMIT,
        snapshots=INDEX_OF_SNAPSHOT if site.snapshot else INDEX,
    )
    yield render("submit.html.jinja", SUBMIT, section="about.html", steps=STEPS)
