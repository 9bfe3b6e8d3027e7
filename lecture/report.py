"""The lecture as one page, Markdown and HTML, each figure with its claim, picture, numbers and verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..evaluation.reports.document import Heading, Paragraph, Part, Picture, Table, to_html, to_markdown
from ..files import write_text
from .figure import Figure, Numbers
from .words import Words

VERDICTS = {True: "agrees", False: "differs", None: "undecided"}


def write_lecture(
    folder: Path,
    figures: Sequence[Figure],
    measured: Mapping[str, Numbers],
    words: Words,
    *,
    largest: str,
    seeds: int,
    quick: bool,
) -> Path:
    """Draw every figure and write ``report.md`` and ``report.html`` into ``folder``; gives the HTML page."""
    page = words["page"]
    notice = page["notice"].format(largest=largest, seeds=seeds)
    parts: list[Part] = [
        Heading(page["title"], 1),
        Paragraph(f"{page['quick']} {notice}" if quick else notice, "notice"),
    ]
    for figure in figures:
        parts += _parts(folder, figure, measured[figure.name], words)
    write_text(folder / "report.md", to_markdown(parts))
    return write_text(folder / "report.html", to_html(page["title"], parts, folder))


def verdict(figure: Figure, numbers: Numbers, words: Words) -> str:
    """Whether the figure supports its claim, and the numbers that say so."""
    found = figure.finding(numbers)
    return f"{words['page'][VERDICTS[found.agrees]]}. {words[figure.name]['found'].format(**found.values)}"


def _parts(folder: Path, figure: Figure, numbers: Numbers, words: Words) -> list[Part]:
    own, picture = words[figure.name], f"{figure.name}.png"
    figure.draw(numbers, folder / picture)
    tables = [make(numbers) for make in (figure.table, figure.samples) if make is not None]
    return [
        Heading(own["title"]),
        Paragraph(own["claim"]),
        Picture(picture, own["caption"]),
        Paragraph(own["caption"]),
        *(Table(list(header), [list(row) for row in rows], prose=("text",)) for header, rows in tables),
        Paragraph(verdict(figure, numbers, words), "headline"),
        Paragraph(f"{words['page']['published']}: {own['published']}"),
    ]
