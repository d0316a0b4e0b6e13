"""Python documentation: a question -> the answer under it; for dev and train, a section title -> the section."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from countries import cut
from sources import PYTHON_DOC, Library
from splits import sample, split_of
from tables import Item, TaskTables

ROOT = "usr/share/doc/python3.11/html/_sources/"
TEST_MANUALS = ("tutorial", "howto", "reference", "using", "extending", "installing", "distributing")
OTHER_MANUALS = ("library", "c-api", "whatsnew")
DEV_SHARE = 0.1
TEXT_LIMIT, SHORTEST = 1500, 120
QUERIES = {"test": 200, "dev": 150, "train": 2000}
# Directives whose content is for the machine that typesets the page.
HIDDEN_DIRECTIVES = frozenset(
    (
        "contents", "index", "toctree", "sectionauthor", "moduleauthor", "highlight", "image", "figure",
        "raw", "only", "module", "currentmodule", "testsetup", "testcleanup", "tabularcolumns", "rubric",
    )
)  # fmt: skip
# Directives whose argument is not prose (a language, a version, a file name), although their content is.
SILENT_ARGUMENT = frozenset(
    (
        "code-block", "productionlist", "versionadded", "versionchanged", "deprecated", "deprecated-removed",
        "literalinclude", "include", "parsed-literal", "doctest", "testcode", "testoutput", "audit-event",
        "availability", "list-table", "csv-table",
    )
)  # fmt: skip
UNDERLINE = re.compile(r"([=\-~^\"'*+#.`:])\1{2,}\s*$")


@dataclass(frozen=True)
class Section:
    """A heading and the text up to the next heading of any level."""

    document: str
    number: int
    title: str
    body: str

    @property
    def id(self) -> str:
        return f"{self.document}#{self.number}"


def build_t2t(library: Library, split: str) -> TaskTables:
    """Test: the Python FAQ among sections of the manuals for users. Dev, train: the reference manuals, by document."""
    sections = _distinct([s for s in _sections(library) if _split(s) == split and len(s.body) >= SHORTEST])
    asked = [s for s in sections if _is_question(s)] if split == "test" else _titled(sections)
    drawn = set(sample([s.id for s in asked], "faq", QUERIES[split]))
    answers: dict[str, list[str]] = {}
    for section in asked:
        if section.id in drawn:
            answers.setdefault(section.title, []).append(section.id)
    # A question that two pages answer has two answers.
    queries = [Item(f"ask-{ids[0]}", text=title) for title, ids in answers.items()]
    qrels = [(f"ask-{ids[0]}", id, 1) for ids in answers.values() for id in ids]
    return TaskTables([Item(s.id, text=s.body) for s in sections], queries, qrels)


def _split(section: Section) -> str | None:
    manual = section.document.split("/")[0]
    if manual in TEST_MANUALS or (manual == "faq" and _is_question(section)):
        return "test"
    return split_of("python", section.document, 0.0, DEV_SHARE) if manual in OTHER_MANUALS else None


def _is_question(section: Section) -> bool:
    return section.document.startswith("faq/") and section.title.endswith("?")


def _titled(sections: list[Section]) -> list[Section]:
    """Sections whose title says something: three words or more, the only one of its kind, no code signature."""
    seen = Counter(s.title.lower() for s in sections)
    return [
        s
        for s in sections
        if len(s.title.split()) >= 3 and seen[s.title.lower()] == 1 and not re.search(r"[()=<>]|\d+\.\d+", s.title)
    ]


def _distinct(sections: list[Section]) -> list[Section]:
    seen = Counter(" ".join(s.body.lower().split()) for s in sections)
    return [s for s in sections if seen[" ".join(s.body.lower().split())] == 1]


def _sections(library: Library) -> Iterator[Section]:
    for path, content in library.members(PYTHON_DOC, ROOT, ".rst.txt").items():
        document = path.removesuffix(".rst.txt")
        if "/" in document:
            for number, (title, body) in enumerate(_parse(content.decode())):
                yield Section(document, number, _inline(title), cut(_plain(body), TEXT_LIMIT))


def _parse(source: str) -> Iterator[tuple[str, list[str]]]:
    """Title and lines of each section: a heading is a line over a row of punctuation at least as long."""
    lines = source.replace("\t", "    ").splitlines()
    heads = [
        index
        for index in range(len(lines) - 1)
        if lines[index].strip()
        and not lines[index].startswith(" ")
        and not UNDERLINE.match(lines[index])
        and UNDERLINE.match(lines[index + 1])
        and len(lines[index + 1].rstrip()) >= len(lines[index].rstrip())
    ]
    for head, following in pairwise([*heads, len(lines)]):
        body = lines[head + 2 : following]
        # A row of punctuation may also stand over the next title.
        if body and UNDERLINE.match(body[-1]):
            body = body[:-1]
        yield lines[head].strip(), body


def _plain(lines: list[str]) -> str:
    """Text without markup: hidden directives and comments go with their content, other content stays."""
    kept: list[str] = []
    hidden_at: int | None = None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if hidden_at is not None and (not line.strip() or indent > hidden_at):
            continue
        hidden_at = None
        directive = re.match(r"\s*\.\. (?:([\w:-]+)::)?\s*(.*)$", line) if line.lstrip().startswith("..") else None
        if directive is None:
            kept.append("" if re.match(r"\s*:[\w-]+:( |$)", line) and indent else line)
        elif directive[1] is None or directive[1] in HIDDEN_DIRECTIVES:
            hidden_at = indent
        else:
            kept.append("" if directive[1] in SILENT_ARGUMENT else directive[2])
    text = _inline("\n".join(line.rstrip() for line in kept))
    return re.sub(r"\n\s*\n", "\n", re.sub(r"\n\s*\n", "\n", text)).strip()


def _inline(text: str) -> str:
    """Inline markup replaced by what it shows."""
    text = re.sub(r"``([^`]+)``", r"\1", text)
    text = re.sub(r":[\w:+-]+:`([^`<]{1,200}?)\s*<[^`]{1,200}>`", r"\1", text)
    text = re.sub(r":[\w:+-]+:`[!~]?([^`]{1,200})`", r"\1", text)
    text = re.sub(r"`([^`<]{1,200}?)\s*<[^`]{1,300}>`__?", r"\1", text)
    text = re.sub(r"`([^`\n]{1,200})`_{0,2}", r"\1", text)
    text = re.sub(r"\*\*([^*\n]+)\*\*", r"\1", text)
    text = re.sub(r"(?<![\w*])\*([^*\s][^*\n]*)\*(?![\w*])", r"\1", text)
    return re.sub(r" ?::(?=\n|$)", ":", text)
