"""Values, configs and functions that are wrong on purpose."""

from __future__ import annotations

from typing import Any

WORDS = (
    *("", " ", "-1", "0", "1.5", "1e400", "-1e400", "nan", "inf", "0x_", "0x10", "0777", "1:30", "1_000"),
    *("2020-13-45", "true", "yes", "null", "~", "none", "[]", "[1, 2]", "{}", "{a: 1", "{a: {b: 2}}", "'", '"'),
    *("&a", "*a", "!!python/x y", "..", "/", "/dev/full", "/dev/null", "/dev/stdin", "~nouser/x", "/proc/x"),
    *("a" * 300, "a/" * 300, "é" * 200, "%s", "{prompt}", "{0}", "{prompt}{prompt}", "$\\frac{$", "\x1b[31mred"),
    *("-", "--", "=", "a,b", "embedded", "embedded/x", "cuda:99", "meta", "no/such-model", "nowhere.jsonl"),
    *("nowhere.py:f", "os:system", "os:getcwd", "sys:exit", "json:nothing", ":", "a:", ":b", "\ud83d", "\udcff"),
    *("9" * 400, "-" + "9" * 30, "1e308", "👍", "٣", "１", "\t", "a\nb", "<script>", "|"),
)
"""Values that somebody might type, or that a shell makes from it."""

SCALARS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**400, -(10**30), float("nan"), float("inf"), "", " ", "x", "9" * 5000),
    *("\ud83d", "\x00", [], {}, [1], {"a": 1}, [[[]]], ["x"] * 3, {"": ""}, "\x1b[2J", "$\\frac{$", "a" * 100000),
    *([None], {"a": None}),
)
"""JSON values where another type is expected."""

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
LAUGHS += "seed: *a11\n"
NASTY_YAML = (
    *("", " ", "\t", "-", "a", "a: b: c", "[", "{", "&a [*a]", "a: &x {b: *x}", "<<: *a"),
    *("!!python/object/apply:os.getcwd []", "? [a]\n: b", "? {a: 1}\n: b", "--- 1\n--- 2", "%YAML 9.9\n---\na: 1"),
    *("\ufeffseed: 1", "seed: 1\nseed: 2", "\x00", "a: \x07", "seed: 2020-13-45", "seed: 0x_", "seed: 1:30"),
    *("seed: 0777", "seed: " + "9" * 400, "seed: 1e400", "seed: .nan", "seed: !!int x", "seed: [1]"),
    *("seed: {a: 1}", "seed: null", "env: 1", "env: []", "env.model: {a: 1}", "env:\n  model: []", "agent: null"),
    *("1: 2", "[" * 5000, "{a: " * 3000, "- " * 3000, "a: " * 200, "true: 1", "null: 1", "env.reward: {models: 1}"),
    *("env.reward: {fit: {}}", "env.reward: [a, b]", "env.reward: {fit: {function: rouge_l, weight: x}}"),
    *("env.reward: {a: {function: [1]}}", "seed: '\\ud83d'", LAUGHS),
)
"""Configs that are not a mapping of our options, or only seem to be."""

PYTHON = {
    "raises": "raise KeyError('x')",
    "raises with lines": "raise ValueError('a\\nb\\nTraceback of mine')",
    "raises without words": "raise RuntimeError()",
    "exits": "import sys; sys.exit(0)",
    "exits with text": "import sys; sys.exit('bye')",
    "quits": "raise SystemExit",
    "recurses": "return f(*a, **k)",
    "no numbers": "return ['x'] * len(a[0] if a else k['prompts'])",
    "nothing": "return None",
    "too few": "return [1.0]",
    "nan": "return [float('nan')] * len(k.get('prompts', a[0] if a else []))",
    "infinite": "return [float('inf')] * len(k.get('prompts', a[0] if a else []))",
    "bytes": "return [b'1'] * len(k.get('prompts', a[0] if a else []))",
    "huge": "return [10 ** 400] * len(k.get('prompts', a[0] if a else []))",
    "nested": "return [[1.0]] * len(k.get('prompts', a[0] if a else []))",
    "a text": "return 'no'",
    "a number": "return 1.0",
    "out of memory": "raise MemoryError",
    "no disk": "raise OSError(28, 'No space left on device')",
    "asserts": "assert False",
    "stops": "raise StopIteration",
    "a half emoji": "raise ValueError('\\ud83d')",
    "an error of its own": "raise type('\\ud83d', (Exception,), {'__str__': lambda self: 1 / 0})()",
}
"""Bodies of rewards and judges that fail."""
AT_IMPORT = (
    "import sys; sys.exit(0)",
    "raise ValueError('x')",
    "import nothing_like_this",
    "def f(:",
    "f = 3",
    "\0",
    "\ud83d",
    "1/0",
)
