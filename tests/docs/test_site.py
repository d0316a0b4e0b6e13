"""The docs site, built for real: no warning, no dead link, every page within reach, every public name there."""

from __future__ import annotations

import ast
import posixpath
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.builders.pages import find_broken_links, read_pages

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCES = sorted([*DOCS.rglob("*.md"), *DOCS.rglob("*.rst")])
LEFT_OUT = tomllib.loads((DOCS / "api" / "internal.toml").read_text(encoding="utf-8"))["left_out"]
NAMED = [name for group in LEFT_OUT for name in group["modules"]]
ROOMS = {"mrb": "mrb", "baselines": "mrb.baselines", "leaderboard": "mrb.leaderboard"}

Pages = dict[str, Any]


@dataclass(frozen=True)
class Site:
    """A built site, what the build said, and its pages as a browser reads them, by path."""

    root: Path
    said: str
    pages: Pages


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("docs")
    words = [*_sphinx_words(), "-d", str(folder / "doctrees"), "-q", str(DOCS), str(folder / "site")]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = read_pages(folder / "site")
    return Site(folder / "site", done.stderr, {path: page for path, page in pages.items() if path[0] != "_"})


def _sphinx_words() -> list[str]:
    """How the Makefile calls Sphinx, without folders."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(r"python (-m sphinx .*) -d build/doctrees docs build/docs$", makefile, re.MULTILINE)
    assert found
    assert {"-W", "--keep-going"} <= set(found[1].split())
    return found[1].split()


def test_it_builds_without_a_word(site: Site) -> None:
    assert site.said == ""


def test_every_page_can_be_reached_from_the_index(site: Site) -> None:
    reached, new = {"index.html"}, ["index.html"]
    while new:
        path = new.pop()
        for link in site.pages[path].links:
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), re.split("[?#]", link)[0]))
            if ":" not in link and target in site.pages and target not in reached:
                reached.add(target)
                new.append(target)
    wanted = {path.relative_to(DOCS).with_suffix(".html").as_posix() for path in SOURCES}
    assert len(wanted) > 35
    assert wanted - reached == set()
    assert reached == set(site.pages)


def test_every_page_of_the_guide_is_linked_from_the_text_of_another() -> None:
    guide = sorted(DOCS.glob("*.md"))
    linked: set[Path] = set()
    for page in (page for page in SOURCES if page != DOCS / "index.md"):
        targets = re.findall(r"\]\(([^)#:]+\.md)", page.read_text(encoding="utf-8"))
        linked |= {(page.parent / target).resolve() for target in targets} - {page}
    # The start, and pages that show other files.
    shown = {"index", "contributing", "changelog", "gmr-tiny", "mini-panel"}
    assert [page.name for page in guide if page not in linked and page.stem not in shown] == []


def test_links_lead_to_pages_their_parts_and_files(site: Site) -> None:
    assert find_broken_links(site.root, site.pages) == []
    for name in ("noise.json", "slurm.sh", "ray-autoscaler.yaml"):  # files of the repository are copied
        assert list(site.root.glob(f"_downloads/*/{name}")), name
    assert "gmr-tiny.html" in site.pages["models.html"].links  # unless a page shows them


def test_anchors_of_markdown_links_are_those_of_github() -> None:
    for page in SOURCES:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]*)\)", page.read_text(encoding="utf-8")):
            other = (page.parent / target) if target else page
            assert anchor in github_anchors(other), f"{page.relative_to(ROOT)}: {target}#{anchor}"


def github_anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page: lower case, spaces to hyphens, other signs left out."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_nothing_comes_from_another_server(site: Site) -> None:
    for path, page in site.pages.items():
        for tag, attributes in page.tags:
            address = attributes.get("href" if tag == "link" else "src") or ""
            assert tag in ("a", "form") or ":" not in address or address.startswith("data:"), f"{path}: {address}"
    styles = list(site.root.rglob("*.css"))
    assert styles
    for style in styles:
        for address in re.findall(r"url\(\s*['\"]?([^'\")]*)|@import\s+['\"]([^'\"]*)", style.read_text("utf-8")):
            assert not re.match(r"(https?:)?//", "".join(address)), f"{style.name}: {address}"


def test_formulas_are_mathml(site: Site) -> None:
    page = site.pages["scoring.html"]
    assert {"math", "mfrac"} <= {tag for tag, _ in page.tags}
    assert "$" not in page.text


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package, by name."""
    for room, package in ROOMS.items():
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT / room).with_suffix("").parts
            yield ".".join((package, *(part for part in parts if part != "__init__"))), path


def public_names(path: Path) -> list[str]:
    """Of a module's source: its `__all__`, or the classes and functions in it without an underscore in front."""
    names = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            names.append(node.name)
    return names


def left_out(module: str) -> bool:
    return any(module == name or (name.endswith(".") and module.startswith(name)) for name in NAMED)


def test_every_module_is_on_an_api_page_or_left_out_with_a_reason(site: Site) -> None:
    public = {name: path for name, path in modules() if public_names(path)}
    ids = {identity for path, page in site.pages.items() if path.startswith("api/") for identity in page.ids}
    shown = {identity.removeprefix("module-") for identity in ids if identity.startswith("module-")}
    for module, path in public.items():
        assert module in shown or left_out(module), f"{module}: neither on a page of docs/api nor in internal.toml"
        if module in shown:
            missing = [name for name in public_names(path) if f"{module}.{name}" not in ids]
            assert not missing, f"{module}: without a docstring, or not shown: {missing}"
    assert shown <= public.keys()


def test_what_is_left_out_exists_and_is_on_no_page(site: Site) -> None:
    public = {name for name, path in modules() if public_names(path)}
    shown = {identity for page in site.pages.values() for identity in page.ids if identity.startswith("module-")}
    assert len(NAMED) == len(set(NAMED))
    for name in NAMED:
        if name.endswith("."):
            assert any(module.startswith(name) and f"module-{module}" not in shown for module in public), name
        else:
            assert name in public, name
            assert f"module-{name}" not in shown, name
    assert all(group["reason"] for group in LEFT_OUT)


def test_the_examples_of_the_api_run(tmp_path: Path) -> None:
    text = (DOCS / "api" / "index.rst").read_text(encoding="utf-8")
    blocks = re.findall(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", text, re.MULTILINE)
    assert len(blocks) == 3
    said = []
    for block in blocks:
        words = [sys.executable, "-c", textwrap.dedent(block)]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    (shown,) = re.findall(r"^\.\. code-block:: text\n\n((?:   .*\n|\n)+)", text, re.MULTILINE)
    assert said[0].strip() == textwrap.dedent(shown).strip()
    assert said[1].strip() == re.findall(r"# (\[.*\])", blocks[1])[0]
    assert "mini-faq-t2t" in said[2]
