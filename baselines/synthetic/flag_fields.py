"""Designs with a field, crosses, diagonals or stripes: each function draws one and returns its description."""

from __future__ import annotations

from mrb.baselines.synthetic.flag_emblems import an, arms, emblem
from mrb.baselines.synthetic.flag_sheet import Point, Sheet


def _field_words(sheet: Sheet, ink: str) -> str:
    return sheet.one(ink, f"{ink} field", f"{an(ink)} field", ink)


def plain(sheet: Sheet, ground: str) -> str:
    """Draw a field of one colour; return the description."""
    sheet.used.append(ground)
    sheet.fill((0, 0, 1, 1), ground)
    return _field_words(sheet, ground)


def charged(sheet: Sheet) -> str:
    """Draw a field with an emblem in its middle; return the description."""
    ground = sheet.ink()
    sheet.fill((0, 0, 1, 1), ground)
    words = _field_words(sheet, ground)
    if sheet.chance(0.25):
        edge = sheet.ink(ground)
        sheet.fill((0, 0, 1, 1), edge)
        sheet.fill((0.06, 0.08, 0.94, 0.92), ground)
        words += sheet.one(f" bordered by a narrow {edge} stripe", f" with a narrow {edge} border on all four sides")
    size = float(sheet.rng.uniform(0.15, 0.32))
    what = emblem(sheet, 0.5, 0.5, size, ground)
    large = what.replace("a ", "a large ", 1) if size > 0.25 and what.startswith("a ") else what
    return f"{words} with {large} {sheet.one('in the center', 'centered', 'in the center of the flag')}"


def cross(sheet: Sheet) -> str:
    """Draw an upright cross, in the middle or towards the hoist, with or without an edge; return the description."""
    ground = sheet.ink()
    sheet.fill((0, 0, 1, 1), ground)
    ink = sheet.ink(ground)
    shifted = sheet.chance(0.5)
    x = 0.36 if shifted else 0.5
    width = float(sheet.rng.uniform(0.14, 0.24))
    words = _field_words(sheet, ground) + f" with {an(ink)} cross"
    if sheet.chance(0.4):
        edge = sheet.ink(ground, ink)
        sheet.cross(x, edge, width + 0.12)
        words += sheet.one(f" edged in {edge}", f" outlined in {edge}")
    words += sheet.one(" that extends to the edges of the flag", " extending to the edges of the flag")
    sheet.cross(x, ink, width)
    return words + ("; the vertical part of the cross is shifted to the hoist side" if shifted else "")


def quarters(sheet: Sheet) -> str:
    """Draw four rectangles around a cross; return the description."""
    one = sheet.ink()
    other = sheet.ink(one)
    sheet.fill((0, 0, 1, 1), one)
    sheet.fill((0.5, 0, 1, 0.5), other)
    sheet.fill((0, 0.5, 0.5, 1), other)
    cross = sheet.ink(one, other)
    sheet.cross(0.5, cross, 0.15)
    return (
        f"a centered {cross} cross that extends to the edges divides the flag into four rectangles - the top ones are "
        f"{one} (hoist side) and {other}, and the bottom ones are {other} (hoist side) and {one}"
    )


def saltire(sheet: Sheet) -> str:
    """Draw a cross from corner to corner; return the description."""
    along = sheet.ink()
    if sheet.chance(0.4):
        sheet.fill((0, 0, 1, 1), along)
        cross = sheet.ink(along)
        words = f"{along} with a diagonal {cross} cross extending to the corners of the flag"
    else:
        beside = sheet.ink(along)
        sheet.fill((0, 0, 1, 1), along)
        sheet.shape([(0, 0), (0.5, 0.5), (0, 1)], beside)
        sheet.shape([(1, 0), (0.5, 0.5), (1, 1)], beside)
        cross = sheet.ink(along, beside)
        words = (
            f"diagonal {cross} cross divides the flag into four triangles - {along} (top and bottom) and {beside} "
            "(hoist side and fly side)"
        )
    sheet.line([(0, 0), (1, 1)], cross, 0.17)
    sheet.line([(0, 1), (1, 0)], cross, 0.17)
    return words


def diagonal(sheet: Sheet) -> str:
    """Draw a field divided from corner to corner, with or without a stripe there; return the description."""
    rising = sheet.chance(0.5)
    upper = sheet.ink()
    lower = sheet.ink(upper)
    ends: list[Point] = [(0, 1), (1, 0)] if rising else [(0, 0), (1, 1)]
    way = "from the lower hoist corner to the upper fly corner" if rising else "from upper hoist to lower fly"
    if sheet.chance(0.5):
        sheet.fill((0, 0, 1, 1), upper)
        sheet.shape([*ends, (1, 1) if rising else (0, 1)], lower)
        words = f"divided diagonally {way}; the upper triangle is {upper} and the lower triangle is {lower}"
        if sheet.chance(0.4):
            stripe = sheet.ink(upper, lower)
            sheet.line(ends, stripe, 0.16)
            words = words.replace("diagonally", f"diagonally by {an(stripe)} band")
        return words
    sheet.fill((0, 0, 1, 1), upper)
    edge = sheet.ink(upper, lower)
    sheet.line(ends, edge, 0.36)
    sheet.line(ends, lower, 0.24)
    return sheet.one(
        f"{upper} field divided diagonally {way} by {an(lower)} stripe bordered by two narrow {edge} stripes",
        f"{upper} with {an(edge)}-edged {lower} diagonal band {way}",
    )


def ensign(sheet: Sheet) -> str:
    """Draw a field with the flag of the UK in its corner; return the description."""
    ground = sheet.one("blue", "blue", "blue", "red", "light blue", "dark blue", "white")
    sheet.used.append(ground)
    sheet.fill((0, 0, 1, 1), ground)
    sheet.fill((0, 0, 0.5, 0.5), "dark blue")
    for ink, slanted, straight in (("white", 0.09, 0.17), ("red", 0.03, 0.09)):
        sheet.line([(0, 0), (0.5, 0.5)], ink, slanted)
        sheet.line([(0, 0.5), (0.5, 0)], ink, slanted)
        sheet.line([(0.25, 0), (0.25, 0.5)], ink, straight)
        sheet.line([(0, 0.25), (0.5, 0.25)], ink, straight)
    sheet.fill((0.5, 0, 1, 1), ground)
    sheet.fill((0, 0.5, 1, 1), ground)
    words = _field_words(sheet, ground) + " with the flag of the UK in the upper hoist-side quadrant"
    if sheet.chance(0.5):
        sheet.fill((0.62, 0.3, 0.88, 0.7), sheet.one("white", "yellow"))
        what = arms(sheet, 0.75, 0.5, 0.16)
        return f"{words} and {what} centered {sheet.one('in', 'on')} the outer half of the flag"
    if sheet.chance(0.5):
        ink = sheet.ink(ground)
        for x, y in ((0.75, 0.15), (0.62, 0.45), (0.88, 0.4), (0.75, 0.8)):
            sheet.star(x, y, 0.09, ink)
        return f"{words}; four {ink} five-pointed stars on the outer half of the flag represent the Southern Cross"
    return f"{words} and {emblem(sheet, 0.75, 0.5, 0.2, ground)} centered on the outer half of the flag"


def middle_stripe(sheet: Sheet) -> str:
    """Draw a field with an edged stripe; return the description."""
    ground = sheet.ink()
    sheet.fill((0, 0, 1, 1), ground)
    ink = sheet.ink(ground)
    edge = sheet.ink(ground, ink)
    low = float(sheet.rng.choice([0.5, 0.65]))
    sheet.fill((0, low - 0.17, 1, low + 0.17), edge)
    sheet.fill((0, low - 0.11, 1, low + 0.11), ink)
    where = "in the center" if low == 0.5 else "somewhat below the center"
    return f"{ground} with a horizontal {edge}-edged {ink} stripe {where}"


def stripes(sheet: Sheet) -> str:
    """Draw many stripes of two colours, with or without a canton; return the description."""
    count, word = [(9, "nine"), (11, "11"), (13, "13"), (14, "14"), (7, "seven")][int(sheet.rng.integers(5))]
    one = sheet.ink()
    other = sheet.ink(one)
    for place in range(count):
        sheet.fill((0, place / count, 1, (place + 1) / count), (one, other)[place % 2])
    where = sheet.one(" (top)", "", " (top and bottom)") if count % 2 else " (top)"
    words = f"{word} equal horizontal stripes of {one}{where} alternating with {other}"
    if sheet.chance(0.6):
        ground = sheet.ink(one)
        sheet.fill((0, 0, 0.4, 0.5), ground)
        corner = f"{an(ground)} {sheet.one('rectangle', 'square')} in the upper hoist-side corner"
        words += f"; {sheet.one('there is ', '')}{corner} bearing "
        if sheet.chance(0.3):
            ink = sheet.ink(ground)
            sheet.line([(0.2, 0), (0.2, 0.5)], ink, 0.1)
            sheet.line([(0, 0.25), (0.4, 0.25)], ink, 0.1)
            words += f"{an(ink)} cross"
        else:
            words += emblem(sheet, 0.2, 0.25, 0.16, ground)
    return words
