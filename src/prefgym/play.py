"""A person as the policy: the dialogue of ``prefgym play``.

It knows no files and no command line: it reads lines from one function and writes lines to another.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence

from .errors import InputError
from .game import Game, Written, gold_of

Read = Callable[[str], str]
Write = Callable[[str], None]

COMMANDS = {"u": "undo the last pick", "e": "end the text here", "?": "show this again", "q": "quit"}
PUNCTUATION = ".,!?;:'’)"
WIDTH = 96


def play(game: Game, read: Read, write: Write) -> Written | None:
    """Play until the text ends; ``None`` when the player quits or the lines run out.

    Raises:
        KeyboardInterrupt: Ctrl-C, with a sentence.
    """
    try:
        return _play(game, read, write)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"you left after {_count(game.tokens)}; there is no score.") from None


def _play(game: Game, read: Read, write: Write) -> Written | None:
    write(_opening(game))
    while not game.ended:
        choices = game.choices()
        write(_offer(game, choices))
        try:
            line = read("> ")
        except EOFError:
            line = "q"
        if line.strip() == "q":
            write(f"\nYou left after {_count(game.tokens)}: {_paid(game)}, and no score, as the text has not ended.")
            return None
        try:
            _answer(game, line, choices, write)
        except InputError as error:
            write(f"  {error}")
    return Written(game.info, game.reward, gold_of(game.core.prompts[game.index], game.info["response"]))


def _answer(game: Game, line: str, choices: Sequence[tuple[int, float]], write: Write) -> None:
    """Do what a line asks for."""
    word = line.strip()
    if word == "?":
        write(rules(game.num_choices))
    elif word == "u":
        if not game.picks:
            raise InputError("There is nothing to undo yet.")
        game.undo()
        write(f"  undone; {_paid(game)}")
    else:
        for step in game.take(read_tokens(game, line, [token for token, _ in choices])):
            cost, mean = (-game.core.kl_coef * value for value in (step.ref_log_prob, step.expected))
            told = f"log π_ref {step.ref_log_prob:7.2f}   costs {cost:.3f}, expected {mean:.3f}"
            write(f"  {game.name(step.token):<16} {told}")
        write(f"  {_paid(game)}")


def read_tokens(game: Game, line: str, choices: Sequence[int]) -> list[int]:
    """The tokens that a line stands for: an empty line the likeliest, a number that choice, anything else a text.

    A text gets a space before it, unless it begins with punctuation; in double quotes it is taken literally.

    Raises:
        InputError: no such choice, or nothing that can be tokenised.
    """
    word = line.strip()
    if not word:
        return [choices[0]]
    if word == "e":
        return [game.core.eos_token_id]
    if word.isdecimal():
        if len(word) > 9 or not 1 <= int(word) <= len(choices):
            raise InputError(
                f'Choices are 1 to {len(choices)}; to write the number itself, put it in quotes: " {word}".'
            )
        return [choices[int(word) - 1]]
    if len(word) > 1 and word[0] == word[-1] == '"':
        text = word[1:-1]
    else:
        text = word if word[0] in PUNCTUATION else f" {word}"
    try:
        text.encode()
        tokens = game.encode(text)
    except UnicodeEncodeError:
        raise InputError("That line is not UTF-8 text.") from None
    if not tokens:
        raise InputError(f"{text!r} has no token in the model's vocabulary.")
    return tokens


def rules(num_choices: int) -> str:
    """What a player can type."""
    lines = [
        "  Enter takes the likeliest token (1)",
        f"  1 to {num_choices}".ljust(8) + " takes that token",
        "  text     is cut into tokens and written; a space goes before it, unless it begins with punctuation",
        '  "text"   is written literally, for a number or the middle of a word',
        *(f"  {key:<8} {what}" for key, what in COMMANDS.items()),
    ]
    return "\n".join(lines)


def closing(game: Game, rows: Mapping[str, Written]) -> str:
    """The reward of each of several responses to the post, and their texts."""
    from .evaluation.reports.tables import align

    mine = next(iter(rows.values()))
    cells = {name: _figures(row) for name, row in rows.items()}
    header = ["", *next(iter(cells.values()))]
    told = (
        f"KL in nats as a deterministic policy pays it (log π = 0); reward = score − {game.core.kl_coef:g} · KL. You "
        f"ended by {mine.info['finish_reason']} after {_count(game.tokens)}."
    )
    texts = [f"{name}\n{_wrap(row.info['response'])}" for name, row in rows.items()]
    lines = [[name, *figures.values()] for name, figures in cells.items()]
    return "\n\n".join([align(header, lines), _wrap(told, ""), *texts])


def _figures(row: Written) -> dict[str, str]:
    """The score with its parts, gold where known, KL and reward, by column title."""
    from .evaluation.reports.formats import number

    parts = {name.replace("_", " "): value for name, value in row.info["score_parts"].items()}
    gold = {} if row.gold is None else {"gold": row.gold}
    figures = {"score": row.info["score"], **parts, **gold, "KL": row.info["kl"], "reward": row.reward}
    return {name: number(value) for name, value in figures.items()}


def _opening(game: Game) -> str:
    core = game.core
    told = (
        f"You are the policy. Write the response to the post below token by token, at most {core.max_new_tokens} "
        f"tokens. You choose for certain (log π = 0), so each token costs −β log π_ref with β = {core.kl_coef:g}; the "
        'score comes with the last one. "Expected" is what a draw from the start policy would cost on average.'
    )
    post = _wrap(core.encode_prompts([game.index]).texts[0])
    return f"{_wrap(told, '')}\n\nprompt {game.index}\n{post}\n\n{rules(game.num_choices)}"


def _offer(game: Game, choices: Sequence[tuple[int, float]]) -> str:
    left = game.core.max_new_tokens - len(game.tokens)
    lines = ["", *([_wrap(game.text)] if game.picks else []), f"  {left} left"]
    lines += [f"  {i:>2}  {game.name(token):<16} {100 * p:5.1f} %" for i, (token, p) in enumerate(choices, 1)]
    return "\n".join(lines)


def _paid(game: Game) -> str:
    return f"KL so far {game.kl:.2f} nats, which costs {game.core.kl_coef * game.kl:.3f}"


def _count(tokens: Sequence[int]) -> str:
    return f"{len(tokens)} token{'' if len(tokens) == 1 else 's'}"


def _wrap(text: str, indent: str = "  ") -> str:
    """Wrap to a readable width; the text's own line breaks stay."""
    wrapper = textwrap.TextWrapper(width=WIDTH, initial_indent=indent, subsequent_indent=indent)
    return "\n".join(wrapper.fill(line) for line in text.strip().splitlines())
