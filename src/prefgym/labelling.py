"""A person, or a model, as the annotator: the dialogue of ``prefgym label``.

It knows no file but that of the judgements, and no command line: it reads lines from one function and writes lines to
another.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from .data.comparisons import FIRST, SECOND, TIE
from .data.label_file import Judgement, LabelFile
from .data.splits import stable_uniform
from .data.text import printable
from .data.text_pairs import TextPair

if TYPE_CHECKING:
    from .rewards.ai_feedback import ModelAnnotator

Read = Callable[[str], str]
Write = Callable[[str], None]

KEYS = {
    "1": "the first one is better",
    "2": "the second one is better",
    "t": "a tie: neither is better (also: tie, 0)",
    "s": "skip; it comes back in the next session",
    "u": "undo the last answer",
    "?": "show this again",
    "q": "quit; the same command continues from here",
}
TIES = {"t", "tie", "0", "="}
WIDTH = 96
SHOWN = 40
"""How many characters of an unknown line are quoted back."""
AT_ONCE = 64
"""Pairs that a model judges between two writes to the file."""


class Labelling:
    """One annotator's session over a stream of pairs; those judged before are skipped.

    Attributes:
        file: where judgements go.
        annotator: who judges.
        total: maximum number of pairs, judged ones included.
        before: how many were judged in earlier sessions.
        seed: decides which text of each pair is shown first; the file does not record it.
        answers: this session's, in order; ``None`` is a skipped pair.
    """

    def __init__(
        self, pairs: Iterable[TextPair], file: LabelFile, annotator: str, *, total: int, before: int = 0, seed: int = 0
    ) -> None:
        self.file, self.annotator, self.total, self.before, self.seed = file, annotator, total, before, seed
        self._waiting = (pair for pair in pairs if not file.holds(pair, annotator))
        self._seen: list[TextPair] = []
        self.answers: list[Judgement | None] = []

    def upcoming(self, count: int) -> list[TextPair]:
        """The pairs to judge next, at most ``count``; empty when none is left."""
        first = len(self.answers)
        self._seen += islice(self._waiting, max(0, first + count - len(self._seen)))
        return self._seen[first : first + count]

    @property
    def labelled(self) -> int:
        """How many pairs the annotator has judged, in earlier sessions and in this one."""
        return self.before + sum(answer is not None for answer in self.answers)

    def swapped(self, pair: TextPair) -> bool:
        """Whether the pair's second text is shown as number 1: for half of the pairs, by the seed."""
        return stable_uniform("\n".join((pair.prompt, pair.first, pair.second)), self.seed) < 0.5

    def shown(self, pair: TextPair) -> tuple[str, str]:
        """The two texts in screen order."""
        return (pair.second, pair.first) if self.swapped(pair) else (pair.first, pair.second)

    def answer(self, number: int) -> None:
        """Record that text 1 or 2 on the screen is better, or, with 0, a tie."""
        (pair,) = self.upcoming(1)
        chosen = TIE if number == 0 else FIRST if (number == 2) == self.swapped(pair) else SECOND
        self.record([Judgement(pair, chosen, self.annotator)])

    def record(self, judgements: Sequence[Judgement]) -> None:
        """Record judgements of the next pairs."""
        self.file.add(judgements)
        self.answers += judgements

    def skip(self) -> None:
        """Skip the pair in this session."""
        self.answers.append(None)

    def undo(self) -> None:
        """Undo the last answer or skip of this session."""
        last = self.answers[-1]
        if last is not None:
            self.file.take_back(last)
        self.answers.pop()


def label(session: Labelling, read: Read, write: Write) -> None:
    """Ask until nothing is left, the person quits, or the lines run out.

    Raises:
        KeyboardInterrupt: Ctrl-C, with a sentence.
    """
    try:
        _label(session, read, write)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"you left; {closing(session)}") from None


def _label(session: Labelling, read: Read, write: Write) -> None:
    write(rules())
    shown = None
    while pairs := session.upcoming(1):
        (pair,) = pairs
        if (len(session.answers), pair) != shown:  # after an invalid answer the question is not shown again
            write(question(session, pair))
            shown = (len(session.answers), pair)
        try:
            line = read("1, 2, t, s, u, q> ").strip().lower()
        except EOFError:
            return
        if line == "q":
            return
        told = _obey(session, line)
        if told:
            write(told)


def _obey(session: Labelling, line: str) -> str:
    """Do what a line asks for; gives the reply."""
    if line in ("1", "2"):
        session.answer(int(line))
    elif line in TIES:
        session.answer(0)
    elif line == "s":
        session.skip()
    elif line == "u" and session.answers:
        session.undo()
    elif line == "u":
        return "  There is nothing to undo in this session."
    elif line == "?":
        return rules()
    else:
        return f'  Type 1, 2, t (tie), s (skip), u (undo) or q (quit), not "{printable(line[:SHOWN])}".'
    return ""


def rules() -> str:
    """What a person can type."""
    return "\n".join(["Which of the two responses is better?", *(f"  {key}  {what}" for key, what in KEYS.items())])


def question(session: Labelling, pair: TextPair) -> str:
    """The pair as shown on the screen, with the progress."""
    one, two = session.shown(pair)
    head = f"{session.labelled} of {session.total} labelled"
    parts = [f"\n— {head} {'—' * (WIDTH - len(head) - 3)}", _wrap(pair.prompt), f"1\n{_wrap(one)}", f"2\n{_wrap(two)}"]
    return "\n\n".join(parts)


def closing(session: Labelling) -> str:
    """What was done and what remains, in one line."""
    given = Counter(answer.label for answer in session.answers if answer is not None)
    skipped = sum(answer is None for answer in session.answers)
    told = f"{sum(given.values())} labelled now ({given[TIE]} of them ties), {skipped} skipped; "
    held = f"{len(session.file)} in {session.file.path}" if len(session.file) else "nothing is in the file yet"
    return f"{told}{session.labelled} of {session.total} by {session.annotator}; {held}."


def annotate(session: Labelling, annotator: ModelAnnotator, tie: float = 0.0) -> Iterator[int]:
    """Let a model judge the rest, a few pairs at a time; yields how many were judged each time.

    Args:
        session: as for a person; the screen order does not matter.
        annotator: see ``rewards/ai_feedback.py``.
        tie: a probability this close to one half is a tie.
    """
    from .rewards.ai_feedback import verdict

    while chunk := session.upcoming(AT_ONCE):
        found = annotator(*([getattr(pair, part) for pair in chunk] for part in ("prompt", "first", "second")))
        judgements = [
            Judgement(pair, verdict(float(p), tie), session.annotator, round(float(p), 6))
            for pair, p in zip(chunk, found, strict=True)
        ]
        session.record(judgements)
        yield len(judgements)


def _wrap(text: str) -> str:
    """Wrap to a readable width; the text's own line breaks stay."""
    wrapper = textwrap.TextWrapper(width=WIDTH, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(wrapper.fill(line) for line in text.strip().splitlines()) or "  (empty)"
