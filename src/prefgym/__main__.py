"""``python -m prefgym`` is ``prefgym``."""

from .cli import entry

if __name__ == "__main__":
    entry()
