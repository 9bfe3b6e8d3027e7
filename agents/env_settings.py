"""What an environment says of its own settings, for run folders and checkpoints."""

from __future__ import annotations

from typing import Any

from .attach import env_attribute

ENV_SETTINGS = (
    "kl_coef",
    "kl_estimator",
    "max_prompt_tokens",
    "max_new_tokens",
    "missing_eos_penalty",
    "temperature",
    "stop_strings",
    "keep_special_tokens",
    "dtype",
    "prompting",
)


class EnvSettings:
    """The settings of one environment, as they are now.

    Settings that worker processes hold are asked for at each use. After Ctrl-C nobody can be asked: the workers are
    in the middle of a step, or got the signal themselves and are gone. From ``freeze`` on, the last answers hold.

    Args:
        env: a single environment or a vector one, wrapped or not.
    """

    def __init__(self, env: Any) -> None:
        self.env = env
        self._answers: dict[str, Any] = {}
        self._frozen = False

    def __getitem__(self, name: str) -> Any:
        if not self._frozen or name not in self._answers:
            self._answers[name] = env_attribute(self.env, name)
        return self._answers[name]

    def __setitem__(self, name: str, value: Any) -> None:
        base = self.env.unwrapped
        if hasattr(base, name):
            setattr(base, name, value)
        elif not self._frozen:
            base.set_attr(name, value)
        self._answers[name] = value

    def as_dict(self) -> dict[str, Any]:
        """All of ``ENV_SETTINGS`` that are set, by name."""
        return {name: value for name in ENV_SETTINGS if (value := self[name]) is not None}

    def ask(self) -> None:
        """Ask for everything that a save needs, while the environment is at rest."""
        self._frozen = False
        self.as_dict()
        self["model_name"]

    def freeze(self) -> None:
        """Keep to the last answers of worker processes; what is in this process can always be read and set."""
        base = self.env.unwrapped
        self._frozen = not hasattr(base, ENV_SETTINGS[0]) and not hasattr(base, "envs")
