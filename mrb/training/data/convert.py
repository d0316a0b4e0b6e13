"""`mrb train data --from FORMAT FILE`: groups from training files of other tools.

`sentence-transformers`: a row has `query` or `anchor`, `positive`, and `negative` or `negative_1`, `negative_2`, ...

`ms-swift`: a row has `messages` (the query, after an instruction as the system's message), `positive_messages` and
`negative_messages`, with `<image>` in a text for each path in `images`, `positive_images` and `negative_images`. Or it
has `query`, `response` and `rejected_response`, texts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mrb._util.files import write_json
from mrb._util.hashing import hash_file
from mrb.data.items import Item
from mrb.errors import MRBError, TrainingError, to_one_line
from mrb.training.data.contamination import Checker, HeldOutIndex
from mrb.training.data.files import ImageRow, open_image, write_groups
from mrb.training.data.group import TrainingGroup, TrainingItem
from mrb.training.data.rows import Form, open_rows
from mrb.training.data.write_dataset import DataRecord, locate_record

IMAGE = "<image>"
_MOST_NEGATIVES = 10_000


class Converter:
    """What the rows of a file have in common.

    Args:
        name: The source of the groups.
        instruction: The instruction of rows that have none.
        images: The folder of the images; paths lead into it.
    """

    def __init__(self, name: str, instruction: str, images: Path) -> None:
        self.name = name
        self.instruction = instruction
        self.images = images.resolve()

    def make_group(
        self,
        query: Item,
        positives: Sequence[Item],
        negatives: Sequence[Item],
        instruction: str | None = None,
    ) -> TrainingGroup:
        """Return a group. A negative has the rank of its place: other tools' negatives are hard ones."""
        if not positives:
            raise TrainingError("no positive")
        return TrainingGroup(
            instruction=self.instruction if instruction is None else instruction,
            source=self.name,
            query=TrainingItem(query),
            positives=[TrainingItem(item) for item in positives],
            negatives=[TrainingItem(item, rank=rank) for rank, item in enumerate(negatives, start=1)],
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
        return Item(text, open_image(self.images, ImageRow(path=self._make_relative(paths[0], where))))

    def _make_relative(self, path: Any, where: str) -> str:
        if not isinstance(path, str):
            raise TrainingError(f"{where}: an image is the path of a file")
        place = (self.images / path).resolve()
        if "://" in path or not place.is_relative_to(self.images):
            raise TrainingError(
                f"{where}: image {to_one_line(path, 80)!r} is no file in {self.images}; name the folder with --images"
            )
        return place.relative_to(self.images).as_posix()


def read_text(value: Any, where: str) -> str:
    """Return a text. Raises TrainingError if it is something else."""
    if not isinstance(value, str):
        raise TrainingError(f"{where}: wanted a text")
    return value


def convert_sentence_transformers(row: Mapping[str, Any], converter: Converter) -> TrainingGroup:
    """Return the group of a row (query, positive, negative_1, ...)."""
    names = [name for name in ("query", "anchor") if name in row]
    if len(names) != 1 or "positive" not in row:
        raise TrainingError(
            "wanted the columns query (or anchor), positive and negative or negative_1, negative_2, ..."
        )
    numbered = (f"negative_{number}" for number in range(_MOST_NEGATIVES))
    negatives = [name for name in ("negative", *numbered) if row.get(name) is not None]
    unknown = sorted(row.keys() - {*names, "positive"} - {name for name in row if name.startswith("negative")})
    if unknown:
        raise TrainingError(f"column {unknown[0]!r} is not known: {', '.join(row)}")
    texts = [converter.make_item(row[name], None, name) for name in (*names, "positive", *negatives)]
    return converter.make_group(texts[0], texts[1:2], texts[2:])


def convert_ms_swift(row: Mapping[str, Any], converter: Converter) -> TrainingGroup:
    """Return the group of a row of ms-swift, of either form."""
    for name in ("videos", "audios", "label"):
        if row.get(name) not in (None, [], 1, 1.0):
            raise TrainingError(f"{name}: rows with it are no groups of relevant documents and others")
    if "messages" not in row:
        names = ("query", "response", "rejected_response")
        if any(name not in row for name in names[:2]):
            raise TrainingError("wanted messages, positive_messages and negative_messages, or query and response")
        rejected = row.get("rejected_response") or []
        rejected = [rejected] if isinstance(rejected, str) else rejected
        texts = [converter.make_item(text, None, "a text") for text in (row["query"], row["response"], *rejected)]
        return converter.make_group(texts[0], texts[1:2], texts[2:])
    instruction, text = _read_messages(row["messages"], "messages")
    query = converter.make_item(text, row.get("images"), "messages")
    sides = []
    for side in ("positive", "negative"):
        given, images = row.get(f"{side}_messages") or [], row.get(f"{side}_images")
        images = [None] * len(given) if images is None else images
        if len(images) != len(given):
            raise TrainingError(f"{side}_images: {len(images)} lists for {len(given)} {side}_messages")
        items = []
        for messages, paths in zip(given, images, strict=True):
            system, text = _read_messages(messages, f"{side}_messages")
            if system is not None:
                raise TrainingError(f"{side}_messages: a document with a message of the system")
            items.append(converter.make_item(text, paths, f"{side}_messages"))
        sides.append(items)
    return converter.make_group(query, *sides, instruction)


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


FORMATS: dict[str, Callable[[Mapping[str, Any], Converter], TrainingGroup]] = {
    "sentence-transformers": convert_sentence_transformers,
    "ms-swift": convert_ms_swift,
}


def convert_file(
    name: str,
    path: Path,
    folder: Path,
    index: HeldOutIndex,
    *,
    source: str | None = None,
    instruction: str = "",
    images: Path | None = None,
    form: Form = "jsonl",
    embed: bool = False,
) -> tuple[DataRecord, Path]:
    """Write `FOLDER/SOURCE.FORM` from a file of another tool, without test data, with its images and its record.

    Args:
        name: The format, of FORMATS.
        path: The file, JSON lines or Parquet.
        folder: Output folder.
        index: Hashes of test data.
        source: The name of the source; the file's by default.
        instruction: The instruction of rows that have none.
        images: The folder of the images; the file's by default.
        form: "jsonl" or "parquet".
        embed: Whether images are stored in the file itself.

    Returns:
        The record, and the file.

    Raises:
        TrainingError: Names the first row that is not of the format.
    """
    if not path.is_file():
        raise TrainingError(f"{path}: no such file")
    source = source or path.stem
    out = folder / f"{source}.{form}"
    if out.resolve() == path.resolve():
        raise TrainingError(f"{path}: would be replaced by its own groups; give another --out or --name")
    converter, checker = Converter(source, instruction, images or path.parent), Checker(index)
    counts = dict.fromkeys(("groups", "positives", "hard", "random", "without_negatives"), 0)

    def read_groups() -> Iterator[TrainingGroup]:
        rows = open_rows(path)
        for number in range(len(rows)):
            try:
                group = FORMATS[name](rows[number], converter)
                counts["without_negatives"] += not group.negatives
                kept = checker.clean(group)
            except MRBError as error:
                where = f"{path}, row {number + 1}"
                if str(error).startswith(where):
                    raise
                raise error.at(where) from error
            if kept is not None:
                counts["groups"] += 1
                counts["positives"] += len(kept.positives)
                counts["hard"] += len(kept.negatives)
                yield kept

    written = write_groups(out, read_groups(), embed=embed)
    if not written:
        out.unlink()
        raise TrainingError(f"{path}: no group is left, {checker.dropped.groups} are of test data")
    record = DataRecord(
        task=source,
        format=name,
        files={path.name: hash_file(path)},
        counts=counts | {"written": written},
        checked=index.identity,
        checked_tasks=tuple(sorted(index.keys)),
        unknown_tasks=tuple(sorted(index.unknown)),
        dropped=checker.dropped,
        sha256=hash_file(out),
    )
    write_json(locate_record(out), record.model_dump(mode="json"))
    return record, out
