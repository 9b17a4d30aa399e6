"""A sheet of pictures with their prompts below, for looking at the world."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_PAPER = (250, 249, 246)
_TEXT = (60, 58, 54)
_GAP_PX = 16
_FONT_PX = 11
_LINE_PX = 14
_LINES = 4


def sheet(pictures: Sequence[tuple[Image.Image, str]], columns: int = 6) -> Image.Image:
    """Pictures of one size, row by row, each with its words below it."""
    columns = max(1, min(columns, len(pictures)))
    side_px = max((picture.width for picture, _ in pictures), default=128)
    cell = (side_px + _GAP_PX, side_px + _GAP_PX + _LINES * _LINE_PX)
    rows = -(-len(pictures) // columns)
    paper = Image.new("RGB", (columns * cell[0] + _GAP_PX, rows * cell[1] + _GAP_PX), _PAPER)
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(_FONT_PX)
    for number, (picture, words) in enumerate(pictures):
        left = _GAP_PX + (number % columns) * cell[0]
        top = _GAP_PX + (number // columns) * cell[1]
        paper.paste(picture, (left, top))
        for line, text in enumerate(_lines(words, side_px, pen, font)[:_LINES]):
            pen.text((left, top + side_px + 4 + line * _LINE_PX), text, fill=_TEXT, font=font)
    return paper


def _lines(
    words: str, width_px: int, pen: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont
) -> list[str]:
    """`words`, broken so that each line fits."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and pen.textlength(longer, font=font) > width_px:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
