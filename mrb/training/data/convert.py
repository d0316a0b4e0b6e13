"""`mrb train data --from FORMAT FILE`: groups from training files of other tools.

`sentence-transformers`: a row has a column for each item (`mrb.training.data.columns`).

`ms-swift`: a row has `messages` (the query, after an instruction as the system's message), `positive_messages` and
`negative_messages`, with `<image>` in a text for each path in `images`, `positive_images` and `negative_images`. Or it
has `query`, `response` and `rejected_response`, texts alone.

`m-beir`: the folder of TIGER-Lab/M-BEIR with its images unpacked (`mrb.training.data.mbeir`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mrb._util.files import check_run_name
from mrb._util.hashing import hash_file
from mrb.data.folder_task import make_slug
from mrb.data.items import ImageHandle, Item
from mrb.data.json_rows import iterate_objects
from mrb.errors import MRBError, TrainingError, to_one_line
from mrb.hub.address import HubFolder
from mrb.training.data.columns import Columns, convert_columns
from mrb.training.data.contamination import Checker, HeldOutIndex
from mrb.training.data.files import ImageRow, open_image
from mrb.training.data.group import TrainingGroup, TrainingItem
from mrb.training.data.hub_files import fetch_table
from mrb.training.data.rows import Form, open_rows
from mrb.training.data.write_dataset import DataRecord, write_dataset

IMAGE = "<image>"


@dataclass(frozen=True)
class ConvertOptions:
    """What a file of another tool does not say itself.

    Attributes:
        source: The name of the source and of the file written; that of the file read by default.
        instruction: The instruction of rows that have none.
        images: The folder of the images; the file's by default.
        random: The random negatives of a group, if the format has a corpus (M-BEIR).
        columns: The columns of the items, where they have other names than the usual ones.
        config: The configuration of a data set of the Hub.
        split: Its split.
    """

    source: str | None = None
    instruction: str = ""
    images: Path | None = None
    random: int = 0
    columns: Columns = field(default_factory=dict)
    config: str | None = None
    split: str = "train"


class Converter:
    """What the rows of a file have in common. Paths of images lead into the folder `images`."""

    def __init__(self, name: str, images: Path, options: ConvertOptions) -> None:
        self.name = name
        self.instruction = options.instruction
        self.images = images.resolve()
        self.random = options.random
        self.columns = options.columns

    def make_group(
        self,
        query: Item,
        positives: Sequence[Item],
        negatives: Sequence[Item],
        instruction: str | None = None,
        teacher: Sequence[float] | None = None,
    ) -> TrainingGroup:
        """Return a group. A negative has the rank of its place: other tools' negatives are hard ones.

        `teacher` has a teacher's score for each document, positives first.
        """
        if not positives:
            raise TrainingError("no positive")
        scores: Sequence[float | None] = teacher or [None] * (len(positives) + len(negatives))
        return TrainingGroup(
            instruction=self.instruction if instruction is None else instruction,
            source=self.name,
            query=TrainingItem(query),
            positives=[TrainingItem(item, teacher=score) for item, score in zip(positives, scores, strict=False)],
            negatives=[
                TrainingItem(item, rank=rank, teacher=score)
                for rank, (item, score) in enumerate(zip(negatives, scores[len(positives) :], strict=True), start=1)
            ],
        )

    def make_item(self, text: Any, paths: Any, where: str) -> Item:
        """Return an item of a text and the paths of the images that its `<image>` tags stand for."""
        text = read_text(text, where)
        paths = [] if paths is None else paths
        if not isinstance(paths, list) or len(paths) != text.count(IMAGE):
            raise TrainingError(f"{where}: {text.count(IMAGE)} {IMAGE} tags, and not as many images")
        if len(paths) > 1:
            raise TrainingError(f"{where}: {len(paths)} images; a training item has at most one")
        text = text.replace(IMAGE, "").strip()
        if not paths:
            if not text:
                raise TrainingError(f"{where}: an item with neither text nor image")
            return Item(text)
        return Item(text, self.open_image(paths[0], where))

    def open_image(self, path: Any, where: str) -> ImageHandle:
        """Return the image of a path, relative to the folder of the images or absolute."""
        if not isinstance(path, str):
            raise TrainingError(f"{where}: an image is the path of a file")
        try:
            if "://" in path:
                raise ValueError("an address")
            # ValueError: the path leads out of the folder, or no file can have it.
            image = ImageRow(path=(self.images / path).resolve().relative_to(self.images).as_posix())
        except ValueError as error:
            raise TrainingError(
                f"{where}: image {to_one_line(path, 80)!r} is no file in {self.images}; name the folder with --images"
            ) from error
        return open_image(self.images, image)


def read_text(value: Any, where: str) -> str:
    """Return a text. Raises TrainingError if it is something else."""
    if not isinstance(value, str):
        raise TrainingError(f"{where}: wanted a text")
    return value


def convert_ms_swift(converter: Converter, row: Mapping[str, Any]) -> TrainingGroup:
    """Return the group of a row of ms-swift, of either form."""
    for name in ("videos", "audios", "label"):
        if row.get(name) not in (None, [], 1, 1.0):
            raise TrainingError(f"{name}: rows with it are no groups of relevant documents and others")
    if "messages" not in row:
        names = ("query", "response", "rejected_response")
        if any(name not in row for name in names[:2]):
            raise TrainingError("wanted messages, positive_messages and negative_messages, or query and response")
        rejected = row.get("rejected_response") or []
        rejected = [rejected] if isinstance(rejected, str) else _read_list(rejected, "rejected_response")
        texts = [converter.make_item(text, None, "a text") for text in (row["query"], row["response"], *rejected)]
        return converter.make_group(texts[0], texts[1:2], texts[2:])
    instruction, text = _read_messages(row["messages"], "messages")
    query = converter.make_item(text, row.get("images"), "messages")
    sides: dict[str, list[Item]] = {}
    for side in ("positive", "negative"):
        given, images = _read_list(row.get(f"{side}_messages") or [], f"{side}_messages"), row.get(f"{side}_images")
        images = [None] * len(given) if images is None else _read_list(images, f"{side}_images")
        if len(images) != len(given):
            raise TrainingError(f"{side}_images: {len(images)} lists for {len(given)} {side}_messages")
        items = []
        for messages, paths in zip(given, images, strict=True):
            system, text = _read_messages(messages, f"{side}_messages")
            if system is not None:
                raise TrainingError(f"{side}_messages: a document with a message of the system")
            items.append(converter.make_item(text, paths, f"{side}_messages"))
        sides[side] = items
    return converter.make_group(query, sides["positive"], sides["negative"], instruction)


def _read_list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise TrainingError(f"{where}: wanted a list")
    return value


def _read_messages(messages: Any, where: str) -> tuple[str | None, str]:
    """Return the system's text, if any, and that of the one other message."""
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        raise TrainingError(f"{where}: wanted a list of messages")
    system = [one for one in messages if one.get("role") == "system"]
    others = [one for one in messages if one.get("role") != "system"]
    if len(system) > 1 or len(others) != 1:
        raise TrainingError(f"{where}: wanted one message, after at most one of the system")
    instruction = read_text(system[0].get("content"), where) if system else None
    return instruction, read_text(others[0].get("content"), where)


@dataclass(frozen=True)
class Reading:
    """How something is read: the files whose rows become groups, how one does, and other files that are read for it."""

    files: Sequence[Path]
    convert: Callable[[Mapping[str, Any]], TrainingGroup]
    others: Sequence[Path] = ()


FORMATS: dict[str, Callable[[Sequence[Path], Converter], Reading]] = {
    "sentence-transformers": lambda paths, converter: Reading(paths, partial(convert_columns, converter)),
    "ms-swift": lambda paths, converter: Reading(paths, partial(convert_ms_swift, converter)),
    "m-beir": lambda paths, converter: _read_mbeir(paths[0], converter),
}


def convert_file(
    name: str,
    path: Path | HubFolder,
    folder: Path,
    index: HeldOutIndex,
    *,
    options: ConvertOptions | None = None,
    form: Form = "jsonl",
    embed: bool = False,
) -> tuple[DataRecord, Path]:
    """Write `FOLDER/SOURCE.FORM` from a file of another tool, without test data, with its images and its record.

    Args:
        name: The format, of FORMATS.
        path: The file, JSON lines or Parquet; for M-BEIR its folder. Or a data set of the Hub.
        folder: Output folder.
        index: Hashes of test data.
        options: What the file does not say itself.
        form: "jsonl" or "parquet".
        embed: Whether images are stored in the file itself.

    Returns:
        The record, and the file.

    Raises:
        TrainingError: Names the first row that is not of the format.
        MRBError: The source is not a file's name.
    """
    options = options or ConvertOptions()
    if options.columns and name != "sentence-transformers":
        raise TrainingError(
            f"--columns works with sentence-transformers' rows only; the columns of {name} have fixed names"
        )
    table = None
    if isinstance(path, HubFolder):
        if name == "m-beir":
            raise TrainingError(f"{path}: M-BEIR's images are in archives; fetch it, unpack them and name the folder")
        table = fetch_table(path, options.config, options.split)
        files, stem = list(table.files.values()), make_slug(path.repository.partition("/")[2])
        images = options.images or files[0].parent
    elif not path.exists():
        raise TrainingError(f"{path}: no such file")
    elif path.is_dir() != (name == "m-beir"):
        raise TrainingError(f"{path}: {name} is converted from a {'folder' if name == 'm-beir' else 'file'}")
    else:
        files, stem = [path], path.stem
        images = options.images or (path if path.is_dir() else path.parent)
    source = check_run_name(options.source) or stem
    out = folder / f"{source}.{form}"
    if table is None and out.resolve() == files[0].resolve():
        raise TrainingError(f"{path}: would be replaced by its own groups; give another --out or --name")
    reading, checker = FORMATS[name](files, Converter(source, images, options)), Checker(index)

    def read_groups() -> Iterator[TrainingGroup]:
        for file in reading.files:
            for number, row in _iterate_rows(file):
                try:
                    kept = checker.clean(reading.convert(row))
                except MRBError as error:
                    raise error.at(f"{file}, row {number}") from error
                if kept is not None:
                    yield kept

    hashes: Mapping[str, str]
    if table is not None:
        hashes = table.hashes
    else:
        hashes = {file.name: hash_file(file) for file in (*reading.files, *reading.others)}
    record = write_dataset(
        out,
        read_groups(),
        checker,
        {},
        embed=embed,
        task=source,
        format=name,
        repository=None if table is None else table.source.repository,
        revision=None if table is None else table.source.revision,
        files=hashes,
        random=options.random if name == "m-beir" else 0,
    )
    return record, out


def _iterate_rows(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the rows of a file and their numbers, from 1."""
    if file.name.endswith((".json", ".jsonl.gz")):
        try:
            yield from enumerate((row for _, row in iterate_objects([file])), start=1)
        except (ValueError, OSError) as error:
            raise TrainingError(f"{file.parent}: {to_one_line(error)}") from error
        return
    rows = open_rows(file)
    for number in range(len(rows)):
        yield number + 1, rows[number]


def _read_mbeir(path: Path, converter: Converter) -> Reading:
    from mrb.training.data.mbeir import MBeir

    found = MBeir(path, converter)
    return Reading(found.queries, found.convert, found.others)
