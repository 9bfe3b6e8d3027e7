"""Parts of a report in both forms, with hostile text."""

from html.parser import HTMLParser

import pytest

from prefgym.evaluation.reports.document import (
    Code,
    Heading,
    Paragraph,
    Picture,
    Quote,
    Raw,
    Table,
    to_html,
    to_markdown,
)

HOSTILE = '<script>alert("x")</script> & <b>bold</b> | pipe'


class Tags(HTMLParser):
    """Collects tags and checks that they nest."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    "part",
    [
        Heading(HOSTILE),
        Paragraph(HOSTILE, "notice"),
        Paragraph(HOSTILE),
        Quote(HOSTILE),
        Code(HOSTILE),
        Table(["", HOSTILE], [[HOSTILE, HOSTILE]], prose=(HOSTILE,)),
    ],
)
def test_html_escapes_every_part(part, tmp_path):
    page = to_html(HOSTILE, [part], tmp_path)
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    assert not {"script", "b"} & set(tags.seen)
    assert "&lt;script&gt;" in page


def test_a_picture_is_carried_inside(tmp_path):
    (tmp_path / "p.png").write_bytes(b"\x89PNG")
    page = to_html("t", [Picture("p.png", 'a "picture"')], tmp_path)
    assert 'src="data:image/png;base64,iVBORw=="' in page
    assert "&quot;picture&quot;" in page


def test_markdown_tables_keep_their_columns():
    text = to_markdown([Table(["", "text", "gold"], [["start", "a | b\nc", "1"]], prose=("text",))])
    assert text == "|  | text | gold |\n| --- | --- | ---: |\n| start | a \\| b c | 1 |\n"


def test_markdown_takes_no_markup_from_text():
    assert to_markdown([Paragraph("# no title")]) == "\\# no title\n"
    assert to_markdown([Paragraph("[click](http://x) *now* <img>")]) == "[click]\\(http://x) \\*now\\* \\<img>\n"
    assert to_markdown([Quote("one\n\n# two")]) == "> one\n>\n> \\# two\n"


def test_a_code_fence_is_longer_than_any_inside():
    assert to_markdown([Code("a\n```\nb")]) == "````\na\n```\nb\n````\n"


def test_raw_is_written_as_it_is(tmp_path):
    assert "<i>x</i>" in to_html("t", [Raw("<i>x</i>", "*x*")], tmp_path)
    assert to_markdown([Raw("<i>x</i>", "*x*"), Heading("t", 1)]) == "*x*\n\n# t\n"
