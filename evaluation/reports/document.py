"""A report as a list of parts, and writing them as Markdown and HTML. Text is escaped in both."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...data.plain_text import markdown, visible

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; color: #22303c; background: #fff;
  max-width: 1120px; margin: 0 auto; padding: 24px 28px 80px; }
h1 { font-size: 30px; margin: 26px 0 6px; } h2 { font-size: 21px; margin: 44px 0 8px; } h3 { font-size: 16px; margin:
28px 0 6px; } p { max-width: 82ch; margin: 8px 0; }
.notice { background: #fff6e5; border-left: 4px solid #d9a441; padding: 10px 14px; font-size: 14.5px; max-width: none; }
.headline { font-size: 18px; }
table { border-collapse: collapse; font-size: 14px; margin: 12px 0; }
th, td { padding: 6px 10px; text-align: right; vertical-align: top; border-bottom: 1px solid #e6eaee; white-space:
nowrap; } th { color: #5f6c78; font-weight: 600; } th:first-child, td:first-child, td.text, th.text { text-align: left;
} td.text { white-space: normal; min-width: 340px; }
.wide { overflow-x: auto; }
img { max-width: 100%; height: auto; margin: 10px 0; }
blockquote { margin: 8px 0; padding: 8px 14px; background: #f4f6f8; border-radius: 6px; white-space: pre-wrap;
max-width: 92ch; } pre { background: #f4f6f8; padding: 12px 14px; border-radius: 6px; overflow-x: auto; font-size: 13px;
} .tokens { line-height: 2.1; max-width: 92ch; } .token { padding: 3px 0; border-radius: 3px; white-space: pre-wrap; }
.end { font-size: 11px; padding: 0 5px; color: #22303c; text-transform: uppercase; letter-spacing: .06em; }
"""


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the report's title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; ``kind`` is a class of the style sheet."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Quote:
    """A block of text, set apart."""

    text: str


@dataclass(frozen=True)
class Code:
    """Preformatted text in a fixed-width font."""

    text: str


@dataclass(frozen=True)
class Table:
    """Cells of text. The first column is a name, columns listed in ``prose`` are sentences, the others figures."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    prose: Sequence[str] = ()


@dataclass(frozen=True)
class Picture:
    """A PNG file beside the report, embedded in the HTML."""

    file: str
    description: str


@dataclass(frozen=True)
class Raw:
    """HTML that its author has escaped, and its Markdown replacement."""

    html: str
    markdown: str


Part = Heading | Paragraph | Quote | Code | Table | Picture | Raw


def to_markdown(parts: Sequence[Part]) -> str:
    """The parts as Markdown."""
    return "\n\n".join(_markdown(part) for part in parts) + "\n"


def _markdown(part: Part) -> str:
    match part:
        case Heading(text, level):
            return f"{'#' * level} {markdown(text)}"
        case Paragraph(text):
            return markdown(text)
        case Quote(text):
            return "\n".join(f"> {markdown(line)}".rstrip() for line in text.strip().splitlines())
        case Code(text):
            text, fence = visible(text), "```"
            while fence in text:
                fence += "`"
            return f"{fence}\n{text.rstrip()}\n{fence}"
        case Table(header, rows, prose):
            rule = ["---" if i == 0 or title in prose else "---:" for i, title in enumerate(header)]
            lines = [[markdown(cell) for cell in header], rule, *([markdown(cell) for cell in row] for row in rows)]
            return "\n".join(f"| {' | '.join(line)} |" for line in lines)
        case Picture(file, description):
            return f"![{markdown(description)}]({file})"
        case Raw(_, text):
            return text


def to_html(title: str, parts: Sequence[Part], folder: Path) -> str:
    """The parts as one HTML page that needs no other file; pictures are read from ``folder``."""
    body = "\n".join(_html(part, folder) for part in parts)
    head = f'<meta charset="utf-8"><title>{escaped(title)}</title>'
    view = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    page = f'<html lang="en"><head>{head}{view}<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>'
    return f"<!doctype html>\n{page}\n"


def escaped(text: str) -> str:
    """Text for HTML: no markup, no control characters, nothing that changes the writing direction."""
    return html.escape(visible(text))


def _html(part: Part, folder: Path) -> str:
    match part:
        case Heading(text, level):
            return f"<h{level}>{escaped(text)}</h{level}>"
        case Paragraph(text, kind):
            return f'<p class="{kind}">{escaped(text)}</p>' if kind else f"<p>{escaped(text)}</p>"
        case Quote(text):
            return f"<blockquote>{escaped(text.strip())}</blockquote>"
        case Code(text):
            return f"<pre>{escaped(text.rstrip())}</pre>"
        case Table(header, rows, prose):
            kinds = [' class="text"' if title in prose else "" for title in header]
            head = _html_row("th", kinds, header)
            body = "".join(_html_row("td", kinds, row) for row in rows)
            return f'<div class="wide"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'
        case Picture(file, description):
            data = base64.b64encode((folder / file).read_bytes()).decode("ascii")
            return f'<img alt="{escaped(description)}" src="data:image/png;base64,{data}">'
        case Raw(markup, _):
            return markup


def _html_row(tag: str, kinds: Sequence[str], cells: Sequence[str]) -> str:
    pairs = zip(kinds, cells, strict=True)
    return f"<tr>{''.join(f'<{tag}{kind}>{escaped(cell)}</{tag}>' for kind, cell in pairs)}</tr>"
