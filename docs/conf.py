"""The docs site: Markdown through MyST, the API pages from docstrings. `make docs` builds it into build/docs.

Everything that a page needs is in the site's own folder: formulas become MathML, links to files of the repository
become copies of these files, and no address of another server is loaded.
"""

from __future__ import annotations

import inspect
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, get_type_hints

from docutils import nodes
from docutils.utils import new_document
from docutils.utils.math import MathError, latex2mathml
from myst_parser.parsers.sphinx_ import MystParser
from numpy.typing import ArrayLike
from pydantic import BaseModel
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.inspect import stringify_signature
from sphinx.util.typing import stringify_annotation

from mrb import __version__
from mrb._util.terminal import hide_import_advice

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

hide_import_advice()
_log = logging.getLogger(__name__)
DOCS = Path(__file__).parent
ARRAY_LIKE = stringify_annotation(ArrayLike, "smart")
ARRAY = re.compile(r"~numpy\.ndarray\[tuple\[~typing\.Any, \.\.\.\], ~numpy\.dtype\[(~numpy\.\w+)\]\]")

SECTION = re.compile(r"(Args|Returns|Raises|Yields|Attributes):")
ENTRY = re.compile(r" {4}(\*{0,2}\w+): (.*)")

project = "MRB"
author = "The MRB authors"
copyright = "The MRB authors. Apache-2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["site"]
nitpicky = True

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3  # as GitHub names them: pages link to headings in both places

# Pages that show a file which lies elsewhere in the repository.
PAGES_OF_FILES = {
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "README.md": "index",
    "baselines/gmr_tiny/README.md": "gmr-tiny",
    "baselines/mini_panel/README.md": "mini-panel",
}

autodoc_default_options = {"members": True, "member-order": "bysource", "exclude-members": "model_config"}
autodoc_preserve_defaults = True  # `MEASURES`, not what is in it
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = "hide"

# Signatures name types that no page describes: those of Python and other packages (to look these up in their own docs
# would take a network) and names that are imported for type checkers only; those of internal modules; type variables;
# checks within annotations.
INTERNAL = [
    re.escape(name) + (".*" if name.endswith(".") else "")
    for group in tomllib.loads((DOCS / "api" / "internal.toml").read_text(encoding="utf-8"))["left_out"]
    for name in group["modules"]
]
nitpick_ignore_regex = [
    ("py:.*", r"(?!mrb\.).*"),
    ("py:.*", rf"({'|'.join(INTERNAL)})\.\w+"),
    ("py:.*", r"mrb\..*\.[A-Z]"),
    ("py:.*", r"mrb\..*\._\w+"),
]

highlight_language = "none"  # of blocks that name no language: output, formulas, trees of files

html_theme = "pydata_sphinx_theme"
html_title = "MRB"
html_static_path = ["site/static"]
html_css_files = ["mrb.css"]
templates_path = ["site/templates"]
html_show_sourcelink = False
html_copy_source = False
html_domain_indices = False
html_show_search_summary = False  # it would fetch pages, which a browser refuses to a page that is opened from disk
html_math_renderer = "mathml"
html_sidebars = {"**": ["pages"]}
html_theme_options = {
    "navbar_center": [],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
}


def inline_math(writer: HTML5Translator, node: nodes.math) -> None:
    """A formula within a line, as MathML."""
    _write_mathml(writer, node, block=False)


def block_math(writer: HTML5Translator, node: nodes.math_block) -> None:
    """A formula of its own, as MathML."""
    _write_mathml(writer, node, block=True)


def _write_mathml(writer: HTML5Translator, node: nodes.Element, *, block: bool) -> None:
    try:
        writer.body.append(latex2mathml.tex2mathml(node.astext(), as_block=block))
    except MathError as error:
        _log.warning("formula %s: %s", node.astext(), error, location=node)
    raise nodes.SkipNode


def link_to_pages(app: Sphinx, document: nodes.document) -> None:
    """Links to Markdown outside docs/ lead to the page that shows it, or else to a copy, as those to other files do."""
    for link in list(document.findall(addnodes.pending_xref)):
        file = Path(link["reftarget"] + ".md")
        if link["reftype"] == "myst" and file.is_absolute():
            page = PAGES_OF_FILES.get(file.relative_to(DOCS.parent).as_posix())
            if page:
                link["reftarget"] = page
            else:
                target = os.path.relpath(file, (DOCS / app.env.docname).parent)
                link.replace_self(addnodes.download_reference("", *link.children, reftarget=target))


class Docstring(SphinxDirective):
    """A docstring, read as Markdown. Without it autodoc would read reStructuredText, which ours are not."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """What the docstring is made of."""
        document = new_document(self.get_source_info()[0], self.state.document.settings)
        document.reporter = self.state.document.reporter
        MystParser().parse("\n".join(self.content), document)
        for raw in document.findall(nodes.raw):  # `<name>` outside of code is an HTML tag, which no browser shows
            _log.warning("HTML in a docstring: %s", raw.astext(), location=self.get_location())
        return document.children


def wrap_docstring(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Hands each docstring that autodoc finds to `Docstring`."""
    if any(lines):
        lines[:] = [".. docstring::", "", *(f"   {line}".rstrip() for line in markdown_sections(lines)), ""]


def markdown_sections(lines: list[str]) -> Iterator[str]:
    """The lines of a docstring with its Google-style sections (`Args:`, `Returns:`, ...) as Markdown.

    A section's name becomes bold, an entry `name: text` an item of a list, any other text of it a paragraph.
    """
    inside = False
    for line in lines:
        if SECTION.fullmatch(line):
            inside = True
            yield from (f"**{line.removesuffix(':')}**", "")
        elif inside and line.startswith("    "):
            entry = ENTRY.fullmatch(line)
            yield f"- `{entry[1]}`: {entry[2]}" if entry else f"  {line.strip()}"
        else:
            inside = inside and not line
            yield line


def plain_signature(
    app: Sphinx, what: str, name: str, thing: object, options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Signatures as a reader wants them.

    Of a pydantic model: its fields with their types, without the limits that `Annotated` adds to these. numpy's aliases
    of types by their names: autodoc gives what they stand for.
    """
    if isinstance(thing, type) and issubclass(thing, BaseModel) and thing.model_fields:
        hints = get_type_hints(thing)
        types = {field.alias or name: hints[name] for name, field in thing.model_fields.items()}
        fields = inspect.signature(thing).parameters.values()
        plain = inspect.Signature([field.replace(annotation=types[field.name]) for field in fields])
        return stringify_signature(plain, unqualified_typehints=True), None
    return _with_aliases(signature), _with_aliases(returns)


def _with_aliases(text: str | None) -> str | None:
    return text and ARRAY.sub(r"~numpy.typing.NDArray[\1]", text.replace(ARRAY_LIKE, "~numpy.typing.ArrayLike"))


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
    app.connect("doctree-read", link_to_pages)
    app.connect("autodoc-process-docstring", wrap_docstring)
    app.add_directive("docstring", Docstring)
    app.connect("autodoc-process-signature", plain_signature)
