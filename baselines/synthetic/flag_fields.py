"""Designs with a field, crosses, diagonals or stripes: each function draws one and returns its description."""

from __future__ import annotations

from mrb.baselines.synthetic.flag_emblems import draw_arms, draw_emblem, with_article
from mrb.baselines.synthetic.flag_sheet import Point, Sheet


def _field_words(sheet: Sheet, ink: str) -> str:
    return sheet.choose(ink, f"{ink} field", f"{with_article(ink)} field", ink)


def draw_plain(sheet: Sheet, ground: str) -> str:
    """Draw a field of one colour; return the description."""
    sheet.used.append(ground)
    sheet.fill_box((0, 0, 1, 1), ground)
    return _field_words(sheet, ground)


def draw_charged(sheet: Sheet) -> str:
    """Draw a field with an emblem in its middle; return the description."""
    ground = sheet.sample_ink()
    sheet.fill_box((0, 0, 1, 1), ground)
    words = _field_words(sheet, ground)
    if sheet.toss(0.25):
        edge = sheet.sample_ink(ground)
        sheet.fill_box((0, 0, 1, 1), edge)
        sheet.fill_box((0.06, 0.08, 0.94, 0.92), ground)
        words += sheet.choose(f" bordered by a narrow {edge} stripe", f" with a narrow {edge} border on all four sides")
    size = float(sheet.rng.uniform(0.15, 0.32))
    what = draw_emblem(sheet, 0.5, 0.5, size, ground)
    large = what.replace("a ", "a large ", 1) if size > 0.25 and what.startswith("a ") else what
    return f"{words} with {large} {sheet.choose('in the center', 'centered', 'in the center of the flag')}"


def draw_cross(sheet: Sheet) -> str:
    """Draw an upright cross, in the middle or towards the hoist, with or without an edge; return the description."""
    ground = sheet.sample_ink()
    sheet.fill_box((0, 0, 1, 1), ground)
    ink = sheet.sample_ink(ground)
    shifted = sheet.toss(0.5)
    x = 0.36 if shifted else 0.5
    width = float(sheet.rng.uniform(0.14, 0.24))
    words = _field_words(sheet, ground) + f" with {with_article(ink)} cross"
    if sheet.toss(0.4):
        edge = sheet.sample_ink(ground, ink)
        sheet.draw_cross(x, edge, width + 0.12)
        words += sheet.choose(f" edged in {edge}", f" outlined in {edge}")
    words += sheet.choose(" that extends to the edges of the flag", " extending to the edges of the flag")
    sheet.draw_cross(x, ink, width)
    return words + ("; the vertical part of the cross is shifted to the hoist side" if shifted else "")


def draw_quarters(sheet: Sheet) -> str:
    """Draw four rectangles around a cross; return the description."""
    one = sheet.sample_ink()
    other = sheet.sample_ink(one)
    sheet.fill_box((0, 0, 1, 1), one)
    sheet.fill_box((0.5, 0, 1, 0.5), other)
    sheet.fill_box((0, 0.5, 0.5, 1), other)
    cross = sheet.sample_ink(one, other)
    sheet.draw_cross(0.5, cross, 0.15)
    return (
        f"a centered {cross} cross that extends to the edges divides the flag into four rectangles - the top ones are "
        f"{one} (hoist side) and {other}, and the bottom ones are {other} (hoist side) and {one}"
    )


def draw_saltire(sheet: Sheet) -> str:
    """Draw a cross from corner to corner; return the description."""
    along = sheet.sample_ink()
    if sheet.toss(0.4):
        sheet.fill_box((0, 0, 1, 1), along)
        cross = sheet.sample_ink(along)
        words = f"{along} with a diagonal {cross} cross extending to the corners of the flag"
    else:
        beside = sheet.sample_ink(along)
        sheet.fill_box((0, 0, 1, 1), along)
        sheet.draw_polygon([(0, 0), (0.5, 0.5), (0, 1)], beside)
        sheet.draw_polygon([(1, 0), (0.5, 0.5), (1, 1)], beside)
        cross = sheet.sample_ink(along, beside)
        words = (
            f"diagonal {cross} cross divides the flag into four triangles - {along} (top and bottom) and {beside} "
            "(hoist side and fly side)"
        )
    sheet.draw_line([(0, 0), (1, 1)], cross, 0.17)
    sheet.draw_line([(0, 1), (1, 0)], cross, 0.17)
    return words


def draw_diagonal(sheet: Sheet) -> str:
    """Draw a field divided from corner to corner, with or without a stripe there; return the description."""
    rising = sheet.toss(0.5)
    upper = sheet.sample_ink()
    lower = sheet.sample_ink(upper)
    ends: list[Point] = [(0, 1), (1, 0)] if rising else [(0, 0), (1, 1)]
    way = "from the lower hoist corner to the upper fly corner" if rising else "from upper hoist to lower fly"
    if sheet.toss(0.5):
        sheet.fill_box((0, 0, 1, 1), upper)
        sheet.draw_polygon([*ends, (1, 1) if rising else (0, 1)], lower)
        words = f"divided diagonally {way}; the upper triangle is {upper} and the lower triangle is {lower}"
        if sheet.toss(0.4):
            stripe = sheet.sample_ink(upper, lower)
            sheet.draw_line(ends, stripe, 0.16)
            words = words.replace("diagonally", f"diagonally by {with_article(stripe)} band")
        return words
    sheet.fill_box((0, 0, 1, 1), upper)
    edge = sheet.sample_ink(upper, lower)
    sheet.draw_line(ends, edge, 0.36)
    sheet.draw_line(ends, lower, 0.24)
    return sheet.choose(
        f"{upper} field divided diagonally {way} by {with_article(lower)} stripe bordered by two narrow {edge} stripes",
        f"{upper} with {with_article(edge)}-edged {lower} diagonal band {way}",
    )


def draw_ensign(sheet: Sheet) -> str:
    """Draw a field with the flag of the UK in its corner; return the description."""
    ground = sheet.choose("blue", "blue", "blue", "red", "light blue", "dark blue", "white")
    sheet.used.append(ground)
    sheet.fill_box((0, 0, 1, 1), ground)
    sheet.fill_box((0, 0, 0.5, 0.5), "dark blue")
    for ink, slanted, straight in (("white", 0.09, 0.17), ("red", 0.03, 0.09)):
        sheet.draw_line([(0, 0), (0.5, 0.5)], ink, slanted)
        sheet.draw_line([(0, 0.5), (0.5, 0)], ink, slanted)
        sheet.draw_line([(0.25, 0), (0.25, 0.5)], ink, straight)
        sheet.draw_line([(0, 0.25), (0.5, 0.25)], ink, straight)
    sheet.fill_box((0.5, 0, 1, 1), ground)
    sheet.fill_box((0, 0.5, 1, 1), ground)
    words = _field_words(sheet, ground) + " with the flag of the UK in the upper hoist-side quadrant"
    if sheet.toss(0.5):
        sheet.fill_box((0.62, 0.3, 0.88, 0.7), sheet.choose("white", "yellow"))
        what = draw_arms(sheet, 0.75, 0.5, 0.16)
        return f"{words} and {what} centered {sheet.choose('in', 'on')} the outer half of the flag"
    if sheet.toss(0.5):
        ink = sheet.sample_ink(ground)
        for x, y in ((0.75, 0.15), (0.62, 0.45), (0.88, 0.4), (0.75, 0.8)):
            sheet.draw_star(x, y, 0.09, ink)
        return f"{words}; four {ink} five-pointed stars on the outer half of the flag represent the Southern Cross"
    return f"{words} and {draw_emblem(sheet, 0.75, 0.5, 0.2, ground)} centered on the outer half of the flag"


def draw_middle_stripe(sheet: Sheet) -> str:
    """Draw a field with an edged stripe; return the description."""
    ground = sheet.sample_ink()
    sheet.fill_box((0, 0, 1, 1), ground)
    ink = sheet.sample_ink(ground)
    edge = sheet.sample_ink(ground, ink)
    low = float(sheet.rng.choice([0.5, 0.65]))
    sheet.fill_box((0, low - 0.17, 1, low + 0.17), edge)
    sheet.fill_box((0, low - 0.11, 1, low + 0.11), ink)
    where = "in the center" if low == 0.5 else "somewhat below the center"
    return f"{ground} with a horizontal {edge}-edged {ink} stripe {where}"


def draw_stripes(sheet: Sheet) -> str:
    """Draw many stripes of two colours, with or without a canton; return the description."""
    count, word = [(9, "nine"), (11, "11"), (13, "13"), (14, "14"), (7, "seven")][int(sheet.rng.integers(5))]
    one = sheet.sample_ink()
    other = sheet.sample_ink(one)
    for place in range(count):
        sheet.fill_box((0, place / count, 1, (place + 1) / count), (one, other)[place % 2])
    where = sheet.choose(" (top)", "", " (top and bottom)") if count % 2 else " (top)"
    words = f"{word} equal horizontal stripes of {one}{where} alternating with {other}"
    if sheet.toss(0.6):
        ground = sheet.sample_ink(one)
        sheet.fill_box((0, 0, 0.4, 0.5), ground)
        corner = f"{with_article(ground)} {sheet.choose('rectangle', 'square')} in the upper hoist-side corner"
        words += f"; {sheet.choose('there is ', '')}{corner} bearing "
        if sheet.toss(0.3):
            ink = sheet.sample_ink(ground)
            sheet.draw_line([(0.2, 0), (0.2, 0.5)], ink, 0.1)
            sheet.draw_line([(0, 0.25), (0.4, 0.25)], ink, 0.1)
            words += f"{with_article(ink)} cross"
        else:
            words += draw_emblem(sheet, 0.2, 0.25, 0.16, ground)
    return words
