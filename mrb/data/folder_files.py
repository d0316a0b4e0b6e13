"""Find the files of a data folder, and keep every path in it inside it."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from mrb.data.task_fields import Table
from mrb.errors import DataError, to_one_line
from mrb.hub.table_discovery import discover_tables

TASK_FILE = "task.toml"
ITEM_FORMATS = (".jsonl", ".json", ".tsv", ".csv", ".parquet")
QRELS_FORMATS = (*ITEM_FORMATS, ".txt", ".trec", ".qrels")
IMAGE_FORMATS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
CORPUS_NAMES = ("corpus", "collection", "documents")
QUERY_NAMES = ("queries", "query", "topics")
IMAGE_FOLDERS = {"corpus": "images", "queries": "query_images"}
LIST_NAMES = ("candidates", "run", "top_ranked")
LIST_FORMATS = (".trec", ".run", ".parquet", ".jsonl", ".json")
SPLIT = "test"
"""The split of the judgements that is taken if there are several and none is named."""


def make_qrels_table(split: str) -> Table:
    """Return the table of a split's judgements in BEIR's and mteb's copies."""
    return Table(config="default", split=split, alternatives=(("qrels", split),))


STANDARD_TABLES = {
    "corpus": Table(config="corpus", split="corpus", alternatives=(("corpus", "test"), ("corpus", "train"))),
    "queries": Table(config="queries", split="queries", alternatives=(("queries", "test"), ("queries", "train"))),
    "qrels": make_qrels_table(SPLIT),
}
"""The tables of BEIR's and mteb's copies on the Hub, by role."""
MAX_TABLE_BYTES = 64 * 1024**3
MAX_FILES = 2_000_000


@dataclass(frozen=True)
class FolderFiles:
    """The files of a data folder, as paths in it.

    `corpus` and `queries` may be empty where images alone are the items. `images` are the files of an image folder, by
    role; an item takes the one whose stem is its id. `candidates` is a list of any format, None without one.
    """

    folder: Path
    corpus: tuple[Path, ...]
    queries: tuple[Path, ...]
    qrels: tuple[Path, ...]
    images: dict[str, tuple[Path, ...]]
    candidates: Path | None

    @property
    def tables(self) -> tuple[Path, ...]:
        """All files but the list of candidates and images that a row names."""
        return (*self.corpus, *self.queries, *self.qrels, *self.images["corpus"], *self.images["queries"])


def find_folder_files(folder: Path, split: str | None = None, candidates: str | None = None) -> FolderFiles:
    """Find the tables, images and candidates of a data folder (docs/own-data.md has the layouts).

    Args:
        folder: The folder.
        split: The split of the judgements; if None, `test`, or the only one.
        candidates: The file of the candidates in the folder; if None, it is found by its name.

    Raises:
        DataError: Names the file that is missing, there twice, outside the folder, or too large.
    """
    if not is_folder(folder):
        raise DataError(f"{folder}: no such folder" if not folder.exists() else f"{folder}: not a folder")
    entries = _list_entries(folder)
    if len(entries) > MAX_FILES:
        raise DataError(f"{folder}: more than {MAX_FILES} files")
    parquet = _discover_parquet(folder)
    images = {role: _list_images(folder, name) for role, name in IMAGE_FOLDERS.items()}
    corpus = _find_items(folder, entries, CORPUS_NAMES, parquet, "corpus")
    queries = _find_items(folder, entries, QUERY_NAMES, parquet, "queries")
    for role, tables in (("corpus", corpus), ("queries", queries)):
        if not tables and not images[role]:
            names = CORPUS_NAMES if role == "corpus" else QUERY_NAMES
            raise DataError(
                f"{folder}: no {role}: wanted {names[0]}.jsonl (or {', '.join(ITEM_FORMATS[1:])}), the tables of a Hub "
                f"data set, or images in {IMAGE_FOLDERS[role]}/"
            )
    found = FolderFiles(
        folder,
        corpus,
        queries,
        _find_qrels(folder, entries, parquet, split),
        images,
        _find_candidates(folder, entries, candidates),
    )
    for path in (*found.corpus, *found.queries, *found.qrels):
        if check_inside(folder, path).stat().st_size > MAX_TABLE_BYTES:
            raise DataError(f"{path}: larger than {MAX_TABLE_BYTES} bytes")
    return found


def resolve_inside(folder: Path, name: str, place: str) -> Path:
    """Return the file that a row of a data folder names, by its path relative to the folder.

    Args:
        folder: The data folder.
        name: The path as the row has it.
        place: The row, for errors.

    Raises:
        DataError: The path is absolute, an address, leaves the folder (also through a link), or is no file.
    """
    shown = to_one_line(repr(name), 120)
    if "://" in name or name.startswith("data:"):
        raise DataError(f"{place}: {shown} is an address; MRB reads image files of the folder only")
    if not _is_unicode(name):
        raise DataError(f"{place}: {shown} is not the name of a file")
    pure = PurePosixPath(name.replace("\\", "/"))
    if pure.is_absolute() or PureWindowsPath(name).drive or name.startswith("~"):
        raise DataError(f"{place}: {shown} is an absolute path; wanted one relative to the folder")
    if ".." in pure.parts or not pure.parts or "\0" in name:
        raise DataError(f"{place}: {shown} leaves the folder; wanted a path inside it")
    try:
        return check_inside(folder, folder.joinpath(*pure.parts))
    except DataError as error:
        raise DataError(f"{place}: {error}") from error


def _is_unicode(name: str) -> bool:
    """Return whether a record can hold the name: no half of a character, as Python reads a name that is not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_inside(folder: Path, path: Path) -> Path:
    """Return `path`. DataError if it is no regular file, or lies outside `folder` once links are followed."""
    shown = to_one_line(repr(path.relative_to(folder).as_posix()), 120)
    try:
        real = path.resolve(strict=True)
        mode = real.stat().st_mode
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "a loop of links"
        raise DataError(f"{shown} cannot be read: {reason}") from error
    if not real.is_relative_to(folder.resolve()):
        raise DataError(f"{shown} is a link that leaves the folder; copy the file into it")
    if not stat.S_ISREG(mode):
        raise DataError(f"{shown} is not a file")
    return path


def is_folder(path: Path) -> bool:
    """Return whether `path` is a folder. DataError if it can be none, because its name is too long or is locked."""
    try:
        return path.is_dir()
    except OSError as error:
        raise DataError(f"{to_one_line(path, 120)}: cannot be read: {error.strerror}") from error


def is_data_folder(folder: Path) -> bool:
    """Return whether a folder looks like a data folder: it has a task.toml, or a corpus and queries."""
    if (folder / TASK_FILE).is_file():
        return True
    stems = {path.stem for path in folder.iterdir()} if folder.is_dir() else set()
    return bool(stems & {*CORPUS_NAMES, "images"}) and bool(stems & {*QUERY_NAMES, "query_images"})


def _list_entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from error


def _find_items(
    folder: Path, entries: Sequence[Path], names: Sequence[str], parquet: dict[str, list[Path]], role: str
) -> tuple[Path, ...]:
    found = [path for path in entries if path.stem in names and path.suffix.lower() in ITEM_FORMATS]
    packed = [path for path in entries if path.name.endswith(".gz") and path.name.split(".")[0] in names]
    if packed:
        raise DataError(f"{packed[0]}: unpack it first (gunzip)")
    if len(found) > 1:
        raise DataError(f"{folder}: {role} twice: {found[0].name} and {found[1].name}; keep one")
    return tuple(found or parquet.get(role, ()))


def _find_qrels(
    folder: Path, entries: Sequence[Path], parquet: dict[str, list[Path]], split: str | None
) -> tuple[Path, ...]:
    inside = folder / "qrels"
    if inside.is_dir():
        files = [path for path in _list_entries(inside) if path.suffix.lower() in QRELS_FORMATS]
        files = [path for path in files if path.suffix.lower() != ".parquet"]
        if files:
            return (_choose_split(inside, files, split),)
    else:
        found = [path for path in entries if path.suffix.lower() in QRELS_FORMATS and _is_qrels(path)]
        if len(found) > 1:
            names = ", ".join(path.name for path in found[:4])
            raise DataError(f"{folder}: judgements in several files: {names}; put them into qrels/ as one file a split")
        if found:
            return (found[0],)
    if parquet.get("qrels"):
        return tuple(parquet["qrels"])
    raise DataError(
        f"{folder}: no judgements: wanted qrels/{split or SPLIT}.tsv or qrels.tsv (query-id, corpus-id, score; or the "
        "four columns of TREC)"
    )


def _is_qrels(path: Path) -> bool:
    return "qrels" in path.stem.lower() or path.suffix.lower() == ".qrels"


def _choose_split(folder: Path, files: Sequence[Path], split: str | None) -> Path:
    wanted = split or SPLIT
    named = [path for path in files if path.stem == wanted]
    if len(named) == 1:
        return named[0]
    if len(files) == 1 and split is None:
        return files[0]
    names = ", ".join(path.name for path in files[:8])
    raise DataError(
        f"{folder}: no {wanted} split among {names}; name one: split = ... in task.toml, or `mrb data init`"
    )


def _discover_parquet(folder: Path) -> dict[str, list[Path]]:
    """Return the parquet tables in the layouts of the Hub, by role. Lists of candidates are left out."""
    # Whoever lists tasks imports this module, and reads no table.
    from mrb.data.table_choice import choose_table

    nested = (path for pattern in ("*/*.parquet", "*/*/*.parquet", "*.parquet") for path in folder.glob(pattern))
    names = sorted(path.relative_to(folder).as_posix() for path in nested)
    names = [name for name in names if name.partition("/")[0].removesuffix(".parquet") not in LIST_NAMES]
    if not names:
        return {}
    tables = discover_tables(names, _read_header(folder / "README.md"))
    found: dict[str, list[Path]] = {}
    for role, table in STANDARD_TABLES.items():
        try:
            _, _, paths = choose_table(tables, role, table, str(folder))
        except DataError:
            continue  # the role may lie in another format; if not, the caller says what is missing
        found[role] = [folder / path for path in paths]
    return found


def _read_header(path: Path) -> dict[str, object] | None:
    """Return the header of a README of the Hub, which names tables; None without one."""
    if not path.is_file() or path.stat().st_size > 1024 * 1024:
        return None
    from huggingface_hub import metadata_load

    try:
        header = metadata_load(path)
    except Exception as error:  # the YAML library raises several unrelated classes
        raise DataError(f"{path}: {to_one_line(error)}") from error
    return header if isinstance(header, dict) else None


def _list_images(folder: Path, name: str) -> tuple[Path, ...]:
    inside = folder / name
    if not inside.is_dir():
        return ()
    found = tuple(path for path in _list_entries(inside) if path.suffix.lower() in IMAGE_FORMATS)
    wrong = next((path for path in found if not _is_unicode(path.name)), None)
    if wrong is not None:
        raise DataError(f"{inside}: the name {wrong.name!a} is not UTF-8; rename the file")
    return found


def _find_candidates(folder: Path, entries: Iterable[Path], named: str | None) -> Path | None:
    if named is not None:
        return resolve_inside(folder, named, f"{folder / TASK_FILE}: candidates")
    found = [
        path
        for path in entries
        if (path.stem in LIST_NAMES and path.suffix.lower() in LIST_FORMATS)
        or (path.suffix.lower() in (".trec", ".run") and not _is_qrels(path))
    ]
    for name in ("top_ranked", "candidates"):
        inside = sorted((folder / name).glob("*.parquet"))
        if len(inside) > 1:
            raise DataError(f"{folder / name}: several lists; name one: candidates = ... in task.toml")
        found += inside
    if len(found) > 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in found[:4])
        raise DataError(f"{folder}: several candidate lists: {names}; name one: candidates = ... in task.toml")
    return check_inside(folder, found[0]) if found else None
