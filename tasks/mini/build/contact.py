"""Contact sheets: what a split looks like at a glance, for people who check the data with their eyes."""

import io
from pathlib import Path

from PIL import Image, ImageDraw
from sources import BuildError
from write import Row, images_of, read_table

CELL, LABEL, COLUMNS, LIMIT = 96, 14, 16, 256


def draw_sheets(data: Path, out: Path) -> None:
    """One PNG per table with images, named after it: the first image of its first rows, with their ids underneath."""
    tables = sorted(data.glob("*/*/*.parquet"))
    if not tables:
        raise BuildError(f"{data}: no tables found")
    out.mkdir(parents=True, exist_ok=True)
    for path in tables:
        rows = [{**row, "image": images_of(row)[0]} for row in read_table(path) if images_of(row)]
        if rows:
            name = "-".join(path.relative_to(data).with_suffix("").parts)
            _sheet(rows[:LIMIT]).save(out / f"{name}.png")


def _sheet(rows: list[Row]) -> Image.Image:
    height = -(-len(rows) // COLUMNS) * (CELL + LABEL)
    sheet = Image.new("RGB", (COLUMNS * CELL, height), "lightgrey")
    pen = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        left, top = number % COLUMNS * CELL, number // COLUMNS * (CELL + LABEL)
        picture = Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")
        picture.thumbnail((CELL - 4, CELL - 4))
        sheet.paste(picture, (left + 2, top + 2))
        identifier = next(row[name] for name in ("id", "corpus-id", "query-id") if name in row)
        pen.text((left + 2, top + CELL), str(identifier)[-15:], fill="black")
    return sheet
