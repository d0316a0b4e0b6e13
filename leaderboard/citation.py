"""BibTeX of the board and of a row on it: dated by its results, with its address if the builder gave one."""

from __future__ import annotations

import re

from mrb import __version__
from mrb._util.format import escape_latex
from mrb.errors import ResultError
from mrb.leaderboard.site import Site
from mrb.leaderboard.tables.runs import get_model_path
from mrb.results.run import Run

_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?", re.ASCII)
PAPER = (
    "@misc{mrb-paper,\n"
    "  title = {Supervised Fine-Tuning or Contrastive Learning? Towards Better Multimodal LLM Reranking},\n"
    "  eprint = {2510.14824},\n  archivePrefix = {arXiv},\n"
    "  url = {https://arxiv.org/abs/2510.14824}\n}\n"
)


def check_url(url: str) -> str:
    """Return the address of a board with a slash at its end; empty if `url` is. ResultError for any other form."""
    if url and (_URL.fullmatch(url) is None or len(url) > 300):
        raise ResultError(f"--url {url!r}: wanted the address of a folder, like https://example.org/board/")
    return url if not url or url.endswith("/") else f"{url}/"


def format_citation(site: Site) -> str:
    """Return BibTeX entries of this board and of the paper behind the benchmark."""
    title = "{MRB: a benchmark for multimodal rerankers}"
    return _format_entry(site, "mrb", title, "index.html", "{The MRB authors}") + "\n" + PAPER


def format_row_citation(site: Site, run: Run) -> str:
    """Return the BibTeX entry of a run's page. Its author is the board's: the model's authors have papers of their own.

    The name needs no braces beyond LaTeX's escapes: a run's name has letters, digits, '.', '_' and '-'.
    """
    title = f"{{{escape_latex(run.name)} on the board of MRB}}"
    return _format_entry(site, f"mrb-{run.name}", title, get_model_path(run.name), "{The MRB authors}")


def _format_entry(site: Site, key: str, title: str, path: str, author: str) -> str:
    notes = [f"MRB {__version__}"]
    if site.snapshot:
        notes.append(f"snapshot {escape_latex(site.snapshot)}")
    notes += sorted(
        {
            f"suite {t.comparison.suite.id} {t.comparison.suite.version}"
            for t in site.tables.values()
            if t.comparison.suite
        }
    )
    fields = {"title": title, "author": f"{{{author}}}"}
    if site.day:
        fields |= {"year": f"{{{site.day[:4]}}}", "date": f"{{{site.day}}}"}
    fields["note"] = f"{{{', '.join(notes)}}}"
    if address := site.get_address(path):
        fields["url"] = f"{{{address}}}"
    lines = ",\n".join(f"  {name} = {value}" for name, value in fields.items())
    return f"@misc{{{key},\n{lines}\n}}\n"
