"""What reaches the terminal can be shown there: whatever the data hold, whatever the encoding."""

import contextlib
import doctest
import io
import os
import subprocess
import sys

import pytest
from tqdm import tqdm

from prefgym import terminal
from prefgym.cli import COMMANDS, main
from prefgym.data import plain_text
from prefgym.data.plain_text import markdown, one_line, shortened, visible
from prefgym.terminal import SPELLED, plain_output, printable

CONTROLS = [*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]


def stream(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def written(target: io.TextIOWrapper) -> str:
    target.flush()
    return target.buffer.getvalue().decode(target.encoding)  # type: ignore[attr-defined]


def test_the_examples_hold():
    for module in (plain_text, terminal):
        found = doctest.testmod(module)
        assert found.attempted
        assert found.failed == 0


@pytest.mark.parametrize("code", CONTROLS)
def test_every_control_character_is_shown_and_not_obeyed(code):
    shown = visible(f"a{chr(code)}b")
    assert chr(code) not in shown
    assert shown == "a" + chr(code).encode("unicode_escape").decode() + "b"


def test_lines_tabs_and_other_alphabets_stay():
    text = "a\tb\nβ 日本 שלום 🦊"
    assert visible(text) == text
    assert visible("a\r\nb") == "a\nb"
    assert visible("a\udcffb\ud83d") == "a\\udcffb\\ud83d"
    assert one_line("a\n\tb\x1b") == "a b\\x1b"


def test_names_keep_both_ends_when_they_are_cut():
    name = "a" * 50 + "b" * 50
    assert shortened(name, 100) == name
    assert len(shortened(name, 41)) == 41
    assert shortened(name, 41)[0] + shortened(name, 41)[-1] == "ab"


@pytest.mark.parametrize(
    "text",
    [
        "# title",
        "1. one",
        "2) two",
        "- one",
        "+ one",
        "> said",
        "--- ",
        "=== ",
        "~~~",
        "[a]: http://x",
        "a | b",
        "<b>",
        "`c`",
    ],
)
def test_nothing_is_taken_for_markup(text):
    assert "\\" in markdown(text)
    assert markdown(text).replace("\\", "") == text.strip()


@pytest.mark.parametrize("text", ["-0.5 [1, 2]", "3.25", "1.5 x", "a_b", "[0.1, 0.2]", "ppo, seed 3"])
def test_figures_and_names_stay_as_they_are(text):
    assert markdown(text) == text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437"])
def test_what_an_encoding_has_not_is_spelled_out(encoding, monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream(encoding))
    with plain_output():
        print("".join(SPELLED), "日 \ud83d \x1b[31m")
        text = written(sys.stdout)
    assert "beta" in text or "β" in text
    assert text.isprintable() or text.endswith("\n")
    assert "\\u65e5 \\ud83d \\x1b[31m" in text
    assert printable("β", stream("ascii")) == "beta"
    assert printable("“x” … ±", stream("ascii")) == '"x" ... +-'


def test_utf_8_says_everything_but_half_characters(monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream("utf-8"))
    with plain_output():
        print("β 日 🦊 \udcff")
        assert written(sys.stdout) == "β 日 🦊 \\udcff\n"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_progress_bars_move_and_their_names_do_not(encoding, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream(encoding))
    with plain_output():
        with tqdm(total=3, desc="\x1b[31mβ\x1b[A", mininterval=0) as outer, tqdm(total=2, position=1) as inner:
            inner.update()
            outer.update()
        print("said\x1b[A", file=sys.stderr)
        text = written(sys.stderr)
    assert "\r\\x1b[31m" + ("beta" if encoding == "ascii" else "β") + "\\x1b[A" in text
    assert text.replace("\x1b[A", "").count("\x1b") == 0
    assert "\x1b[A" in text  # back from the line of the second bar
    assert "said\\x1b[A\n" in text


def test_a_stream_is_itself_in_everything_else(monkeypatch):
    target = stream("ascii")
    monkeypatch.setattr(sys, "stdout", target)
    with plain_output():
        assert sys.stdout.encoding == "ascii"
        assert sys.stdout.buffer is target.buffer
        assert not sys.stdout.isatty()
        assert sys.stdout.write("β") == 1
        sys.stdout.writelines(["a\x1b", "b"])
    assert sys.stdout is target
    assert written(target) == "betaa\\x1bb"


def closed() -> io.StringIO:
    made = io.StringIO()
    made.close()
    return made


@pytest.mark.parametrize("make", [lambda: None, closed])
def test_a_stream_that_is_gone_stays_so(make, monkeypatch):
    gone = make()
    monkeypatch.setattr(sys, "stdout", gone)
    monkeypatch.setattr(sys, "stderr", gone)
    with plain_output():
        assert sys.stdout is gone
        assert sys.stderr is gone


def test_a_stream_without_an_encoding_takes_all(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with plain_output():
        print("β\x1b")
        assert sys.stdout.getvalue() == "β\\x1b\n"


class Full(io.RawIOBase):
    """A file on a full disk."""

    def __init__(self, error: type[OSError]) -> None:
        self.error = error

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        raise self.error(28, "No space left on device")


@pytest.mark.parametrize("error", [OSError, BrokenPipeError])
def test_what_cannot_be_written_raises_inside(error, monkeypatch):
    full = io.TextIOWrapper(io.BufferedWriter(Full(error)), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", full)
    with pytest.raises(error), plain_output():
        print("kept in the buffer until the end")
    with pytest.raises(KeyError), plain_output():  # an error of the work is not hidden by one of the terminal
        raise KeyError("work")
    with contextlib.suppress(OSError):
        full.detach()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_terminal_says_so_once():
    code = (
        "import sys\n"
        "from prefgym.terminal import plain_output\n"
        "try:\n"
        "    with plain_output():\n"
        "        print('x')\n"
        "except OSError as error:\n"
        "    print(error.strerror, file=sys.stderr)\n"
        "    sys.exit(3)\n"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "No space left on device\n")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_every_help_can_be_read_in_any_encoding(encoding, monkeypatch):
    for command in COMMANDS:
        if command == "build-assets":
            continue
        monkeypatch.setattr(sys, "stdout", stream(encoding))
        assert main([command, "--help"]) == 0
        assert "usage: prefgym" in written(sys.stdout)


def test_the_command_itself_speaks_the_terminals_encoding():
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    words = [sys.executable, "-m", "prefgym", "play", "--help"]
    done = subprocess.run(words, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "log pi_ref" in done.stdout.decode("cp1252")


def test_a_whole_training_run_can_be_told_in_ascii(train_flags, tmp_path, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, stream("ascii"))
    code = main(
        [
            "train",
            *train_flags,
            "--agent.total_episodes",
            "8",
            "--evaluation.prompts",
            "2",
            "--output",
            str(tmp_path / "run"),
        ]
    )
    assert code == 0, written(sys.stderr)
    assert "report:" in written(sys.stdout)


def test_an_error_sentence_shows_what_stands_in_it(capsys):
    assert main(["train", "--config", "no\x1b[31m\u202e"]) == 2
    told = capsys.readouterr().err
    assert "\\x1b[31m" in told
    assert "\x1b" not in told
    assert "\u202e" not in told
