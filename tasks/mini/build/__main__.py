"""Rebuild the mini suite from its packages, or check that the data here is what they give.

python tasks/mini/build --check              every table: same rows, same decoded pixels?
python tasks/mini/build --out DIR            write all tables to a folder
python tasks/mini/build --split train --task mini-page-t2vd
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import check
import contact
import write
from registry import NOT_SHIPPED, TASKS, MiniTask
from sources import BuildError, Library
from splits import SPLITS
from tables import verify, verify_disjoint

DATA = Path(__file__).resolve().parent.parent / "data"
SOURCES = Path.home() / ".cache" / "mrb-mini-sources"


def main() -> int:
    """Exit code 0 if all went well, 1 if a check found a difference, 2 for a problem that the user can solve."""
    options = _arguments().parse_args()
    tasks = [task for task in TASKS if options.task in (None, task.id)]
    splits = [split for split in SPLITS if options.split in (None, split)]
    library = Library(options.sources)
    try:
        if options.contact:
            contact.draw_sheets(options.out, options.contact)
            return 0
        if options.check:
            return _check(library, tasks, splits, options.out)
        _build(library, tasks, splits, options.out, named=bool(options.task and options.split))
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python tasks/mini/build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=DATA, help="data folder (default: the one that ships)")
    parser.add_argument("--check", action="store_true", help="rebuild elsewhere and compare, change nothing")
    parser.add_argument("--split", choices=SPLITS, help="this split only")
    parser.add_argument("--task", choices=[task.id for task in TASKS], help="this task only")
    parser.add_argument("--sources", type=Path, default=SOURCES, help="where downloaded packages are kept")
    parser.add_argument("--contact", type=Path, metavar="DIR", help="draw contact sheets of the data and stop")
    return parser


def _rebuilt(
    library: Library, tasks: list[MiniTask], splits: list[str], folder: Path
) -> Iterator[tuple[str, Path, list[write.Row], MiniTask, str]]:
    """Every table as rows, with its name (`task/part/split`) and where it belongs in a data folder."""
    for task in tasks:
        seen: dict[str, str] = {}
        for split in (split for split in splits if split in task.splits):
            tables = task.build(library, split)
            verify(f"{task.id}/{split}", tables)
            verify_disjoint(task.id, split, tables, seen)
            for part, rows in write.rows_of(task.family, tables):
                path = folder / task.id / part / f"{split}.parquet"
                yield f"{task.id}/{part}/{split}", path, rows, task, part


def _build(library: Library, tasks: list[MiniTask], splits: list[str], folder: Path, named: bool) -> None:
    """Write the tables and record their checksums; tables that do not ship are written only if named."""
    record = check.read_record(folder)
    for name, path, rows, task, part in _rebuilt(library, tasks, splits, folder):
        check.refuse_thaw(name, rows, record)
        record["tables"][name] = write.checksum(rows)
        if (task.id, path.stem) in NOT_SHIPPED and not named:
            print(f"{name}: {len(rows)} rows, recorded; name task and split to write it")
            continue
        write.write_table(rows, write.FEATURES[task.family][part], path)
        print(f"{name}: {len(rows)} rows, {path.stat().st_size / 1000:.0f} kB")
    check.write_record(folder, record)


def _check(library: Library, tasks: list[MiniTask], splits: list[str], folder: Path) -> int:
    """Compare each table, written and read back, with the one in the folder, or with its recorded checksum."""
    record = check.read_record(folder)
    different = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, path, rows, task, part in _rebuilt(library, tasks, splits, Path(scratch)):
            write.write_table(rows, write.FEATURES[task.family][part], path)
            fresh, known = write.read_table(path), record["tables"].get(name)
            here = folder / path.relative_to(scratch)
            problem = check.first_difference(write.read_table(here), fresh) if here.exists() else None
            if problem is None and known != write.checksum(fresh):
                problem = "the checksum differs from the recorded one" if known else "no checksum is recorded"
            if problem is None:
                place = "" if here.exists() else " (not shipped, compared by checksum)"
                print(f"{name}: identical: {known['rows']} rows, {known['images']} images{place}")
            else:
                different += 1
                print(f"{name}: different: {problem}")
    if different:
        built_with = record["built_with"]
        changed = {k: (built_with.get(k), v) for k, v in check.environment().items() if built_with.get(k) != v}
        print(f"{different} tables differ; versions (recorded, here): {changed or 'all as recorded'}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
