"""YAML 1.2 scalars, exact and bounded: what settings say is what is read, or one sentence."""

import math
import random
import time

import pytest
import yaml

from prefgym.config import Config, Option, find_preset, parse_flags, read_yaml, resolve
from prefgym.errors import InputError
from prefgym.yaml_files import MAX_DEPTH, dump_yaml, load_yaml, load_yaml_file

OPTIONS = [
    Option("seed", int, 0, "Seed.", minimum=0),
    Option("few", int, 1, "Few.", minimum=1, maximum=10),
    Option("data.prompts", str, None, "Prompts."),
    Option("env.kl_coef", float, 0.05, "Price."),
    Option("env.reward", object, None, "Reward."),
]
TEXTS = [
    *(
        "1:30",
        "2020-13-45",
        "2020-01-01",
        "0x_",
        "0x",
        "0o9",
        "0b1",
        "1_000",
        "yes",
        "no",
        "on",
        "off",
        "Yes",
        "NO",
        "none",
    ),
    *("nan", "inf", "+", ".", "e1", "1e", "<<", "=", "nULL", "tRUE", "٣"),
]
NEARLY = ["1e-4", "0o17", "0777", ".5", "~", "", "null", "true", "12", "-1", "0x1f", ".inf", ".NaN", "1.", "+1"]
AWKWARD = [
    "-",
    *(
        " a",
        "a ",
        "\n",
        "a\nb",
        "\u2028",
        "a\x85 b",
        "\ufeff",
        "😀",
        "'",
        '"',
        "\\",
        "|",
        ">",
        "%",
        "@",
        "`",
        "!x",
        "&a",
        "*a",
    ),
    *("- a", "a: b", "#x", "a #b", "...", "---", "?", "{", "[", "\t", "a\tb", "\x07", "a" * 300, "word " * 60),
]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, text) for text in TEXTS),
        *((text, None) for text in ("~", "null", "Null", "NULL", "")),
        *((text, True) for text in ("true", "True", "TRUE")),
        *((text, False) for text in ("false", "False", "FALSE")),
        *(("0777", 777), ("-12", -12), ("+5", 5), ("0o17", 15), ("0x1F", 31), ("9007199254740993", 2**53 + 1)),
        *(("1e-4", 1e-4), ("1e3", 1000.0), (".5", 0.5), ("-1.", -1.0), (".inf", math.inf), ("-.INF", -math.inf)),
    ],
)
def test_scalars_are_those_of_the_core_schema(text, value):
    found = load_yaml(f"k: {text}\n", "x")["k"]
    assert found == value
    assert type(found) is type(value)


def test_quotes_make_a_text_of_anything():
    assert load_yaml('["1", \'~\', "", ! 1, !!str 1, !!int 1]', "x") == ["1", "~", "", "1", "1", 1]
    assert math.isnan(load_yaml(".nan", "x"))
    assert load_yaml(r'"\ud83d\ude00"', "x") == "😀"


@pytest.mark.parametrize("text", [*TEXTS, *NEARLY, *AWKWARD])
def test_what_is_dumped_is_read_back_the_same_by_both_versions_of_yaml(text):
    tree = {"k": text, "l": [text, {"m": text}], text or "empty": 1}
    dumped = dump_yaml(tree)
    assert load_yaml(dumped, "x") == tree
    assert yaml.safe_load(dumped) == tree


def test_random_texts_and_numbers_are_read_back():
    rng = random.Random(0)
    letters = "ab01 :-#'\"\\\n\t{}[],&*!|>%@`?.~é\u2028\x85😀\ufeff"
    for _ in range(300):
        text = "".join(rng.choice(letters) for _ in range(rng.randint(0, 12)))
        assert load_yaml(dump_yaml({"k": text}), "x") == {"k": text}
    for value in (2**63 - 1, -5, 1e-5, 1e16, 1e300, 0.1, math.inf, True, None, [], {}):
        assert load_yaml(dump_yaml({"k": value}), "x") == {"k": value}


def test_a_config_of_texts_that_look_like_something_else_is_read_back(tmp_path):
    for text in (*TEXTS, *NEARLY[:-1]):
        if text:
            config = Config({"data.prompts": text, "seed": 2**63 - 1})
            config.save(tmp_path / "c.yaml")
            again = resolve(OPTIONS, [("file", read_yaml(tmp_path / "c.yaml", OPTIONS))])
            assert (again["data.prompts"], again["seed"]) == (text, 2**63 - 1)


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
BAD = {
    "a key twice": ("a: 1\nb: 2\na: 3", 3, 'key "a" is given twice'),
    "a key twice, once in quotes": ("1: a\n'1': b", 2, "given twice"),
    "a key twice, deeper": ("a:\n- b: 1\n  b: 1", 3, "given twice"),
    "itself": ("a: &a [*a]", 1, "inside of what it stands for"),
    "itself, deeper": ("&a {b: {c: *a}}", 1, "inside of what it stands for"),
    "laughs": (LAUGHS, 5, "50,000 values"),
    "a long text many times": ("a: &a '" + "x" * 100_000 + "'\nb: [" + "*a, " * 20 + "]", 2, "50,000 values"),
    "deep list": ("[" * 500, 1, "30 levels"),
    "deep mapping": ("{a: " * 500, 1, "30 levels"),
    "deep blocks": ("- " * 100_000, 1, "30 levels"),
    "deep keys": ("".join(" " * place + "a:\n" for place in range(100)), 31, "30 levels"),
    "deep by an alias": ("a: &a " + "[" * 20 + "]" * 20 + "\nb: " + "[" * 20 + "*a" + "]" * 20, 2, "30 levels"),
    "400 digits": ("a: " + "9" * 400, 1, "400 digits"),
    "5000 digits": ("a:\n- -" + "9" * 5000, 2, "5001 digits"),
    "hex of 5000 digits": ("a: 0x" + "f" * 5000, 1, "digits"),
    "a list as a key": ("[1, 2]: 3", 1, "keys are text"),
    "a mapping as a key": ("a: 1\n? {b: 1}\n: 3", 2, "keys are text"),
    "an alias as a key": ("a: &x b\n*x : 2", 2, "write it out"),
    "no key": ("a: {? : 1}", 1, "no key"),
    "python object": ("a: !!python/object/apply:os.system [x]", 1, "python/object"),
    "a set": ("a: !!set {b}", 1, "!!set"),
    "a tag that is wrong": ("a: !!int x", 1, "its tag"),
    "a tag of one's own": ("a: !mine 3", 1, "!mine"),
    "two documents": ("a: 1\n---\nb: 2", 2, "second document"),
    "a tab": ("a:\n\tb: 1", 2, "\\t"),
    "NUL": ("a: 1\nb: \0", 2, "U+0000"),
    "a control character": ("a: \x07", 1, "U+0007"),
    "NUL in an escape": (r'a: "\0"', 1, "NUL"),
    "half an emoji": (r'a: "\ud83d"', 1, "surrogate"),
    "half an emoji as it is": ("a: \ud83d", 1, "U+D83D"),
    "no character": (r'a: "\UFFFFFFFF"', 1, "not a character"),
    "an alias of nothing": ("a: *b", 1, '"*b"'),
    "open quotes": ("a: 'b", 1, "end of stream"),
    "an open list": ("a: [1\n", 2, "line 2"),
    "another version": ("%YAML 3.0\n---\na: 1", 1, "version"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_text_gets_one_sentence_with_its_line(kind, tmp_path):
    text, line, said = BAD[kind]
    began = time.perf_counter()
    for read in (lambda: load_yaml(text, "c.yaml"), lambda: Option("env.reward", object, None, "").read(text)):
        with pytest.raises(InputError) as caught:
            read()
        message = str(caught.value)
        assert f"at line {line}:" in message
        assert said in message
        assert len(message) < 400
        assert "\n" not in message
    assert time.perf_counter() - began < 20  # a bound that a text of many aliases would pass by hours


def test_bytes_that_are_no_settings(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_bytes("a: 1".encode("utf-16"))
    with pytest.raises(InputError, match="not UTF-8"):
        load_yaml_file(file)
    file.write_bytes(b"a: 1\nb: \xff")
    with pytest.raises(InputError, match="line 2"):
        load_yaml_file(file)
    file.write_bytes(b"#" * 1_000_001)
    with pytest.raises(InputError, match="larger than 1,000,000 bytes"):
        load_yaml_file(file)
    with pytest.raises(InputError, match="folder"):
        load_yaml_file(tmp_path)
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert load_yaml_file(file) == {"a": 1, "b": 2}


def test_aliases_are_values_of_their_own():
    found = load_yaml("a: &a {b: [1]}\nc: *a\nd: &a 2\ne: *a", "x")
    assert found == {"a": {"b": [1]}, "c": {"b": [1]}, "d": 2, "e": 2}
    found["a"]["b"].append(2)
    assert found["c"] == {"b": [1]}
    assert load_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH, "x")


def test_one_option_said_in_two_ways_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_text("env.kl_coef: 1\nenv:\n  kl_coef: 2\n")
    with pytest.raises(InputError, match=r'"env\.kl_coef" twice'):
        read_yaml(tmp_path / "c.yaml", OPTIONS)


@pytest.mark.parametrize(
    ("flags", "key", "value"),
    [
        (["--seed", "9007199254740993"], "seed", 9007199254740993),
        (["--seed", str(2**63 - 1)], "seed", 2**63 - 1),
        (["--seed", "1e3"], "seed", 1000),
        (["--seed", "0777"], "seed", 777),
        (["--env.kl_coef", "1e-4"], "env.kl_coef", 1e-4),
        (["--env.kl_coef", "3"], "env.kl_coef", 3.0),
        (["--data.prompts", "0777"], "data.prompts", "0777"),
        (["--env.reward", "{a: {function: f, weight: 1e-4}}"], "env.reward", {"a": {"function": "f", "weight": 1e-4}}),
        (["--env.reward", "1:30"], "env.reward", "1:30"),
    ],
)
def test_flags_are_read_exactly(flags, key, value):
    found = resolve(OPTIONS, [("command line", parse_flags(flags, OPTIONS))])[key]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "flags",
    [
        *(
            ["--seed", value]
            for value in ("-1", str(2**63), "1" + "0" * 400, "9" * 5000, "1e400", "1e300", ".inf", ".nan")
        ),
        *(
            ["--seed", value]
            for value in ("1.5", "1_000", "1:30", "0x_", "true", "yes", "[1]", "{}", "*a", "\ud83d", "٣")
        ),
        *(["--env.kl_coef", value] for value in (".inf", ".nan", "nan", "1e400", "9" * 400, "on", "1,5", "")),
        *(["--few", value] for value in ("0", "11", "1e18")),
        *(
            ["--env.reward", value]
            for value in ("[1", "a: b: c", "&a [*a]", "!!python/none x", "\ud83d", "{a: 1, a: 2}")
        ),
    ],
)
def test_a_wrong_value_names_its_option(flags):
    with pytest.raises(InputError) as caught:
        resolve(OPTIONS, [("command line", parse_flags(flags, OPTIONS))])
    message = str(caught.value)
    assert flags[0].removeprefix("--") in message or "not UTF-8" in message
    assert len(message) < 300
    message.encode("utf-8")


def test_a_number_is_no_text_in_a_file(tmp_path):
    (tmp_path / "c.yaml").write_text("data:\n  prompts: 007\n")
    with pytest.raises(InputError, match=r"data\.prompts is 7.*put it in quotes"):
        resolve(OPTIONS, [("c.yaml", read_yaml(tmp_path / "c.yaml", OPTIONS))])


@pytest.mark.parametrize(
    "name", ["a\0b", "x" * 256, "x" * 252, "y/" * 3000, "~nouser/x", "~nouser", "\ud83d.yaml", "", ".", "/"]
)
def test_a_config_that_no_file_can_be(name):
    with pytest.raises(InputError) as caught:
        find_preset(name)
    str(caught.value).encode("utf-8")


def test_a_config_that_is_a_folder(refused, tmp_path):
    (tmp_path / "c.yaml").mkdir()
    for folder in (tmp_path, tmp_path / "c.yaml"):
        assert "is a folder; name a YAML file" in refused("train", "--config", folder, "--output", tmp_path / "run")
    line = refused("train", "--seed", 2**63, "--output", tmp_path / "run")
    assert "seed is 9223372036854775808, but must be at most 9223372036854775807" in line
    assert not (tmp_path / "run").exists()
