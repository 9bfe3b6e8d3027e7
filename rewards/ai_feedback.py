"""Models as annotators: which of two responses is better, judged by a language model or a preference model.

An annotator is a function ``(prompts, first, second) -> (N,) probability that the first is better`` of plain texts,
without a template. The answer of either kind does not depend on the order of the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.comparisons import FIRST, SECOND, TIE, Comparison
from ..data.templates import Template
from ..data.text_pairs import TextPair
from ..data.truncation import fit_prompt
from ..errors import InputError
from ..models.finetune import Collator
from ..models.folder import locate
from ..models.forward import token_log_probs
from ..models.language_model import LanguageModel
from ..typed_json import read_object
from .preference_model import PreferenceModel

Array = NDArray[np.float64]
ModelAnnotator = Callable[[Sequence[str], Sequence[str], Sequence[str]], Array]

QUESTION = (
    "Which of two responses is better?\n\n{prompt}\n\nResponse 1: {first}\n\nResponse 2: {second}\n\n"
    "The better one is Response"
)
VERDICTS = (" 1", " 2")
_PLACES = ("{prompt}", "{first}", "{second}")


class LanguageModelAnnotator:
    """Asks a causal language model which response is better, and compares the likelihood of its two verdicts.

        P(a is better) = (p(" 1" after a, b) + p(" 2" after b, a)) / 2,    p(" 1") = σ(log π(" 1") - log π(" 2"))

    The mean over both orders removes the model's bias towards one of the two numbers or positions. Nothing is
    generated.
    Source: H. Lee et al., "RLAIF" (2023), section 3.1: soft labels, without their chain of thought.

    Attributes:
        lm: the annotator.
        question: text with ``{prompt}``, ``{first}`` and ``{second}``; the verdict follows it.
        batch_size: pairs read at once, in four rows each.
    """

    def __init__(self, lm: LanguageModel, question: str = QUESTION, batch_size: int = 8) -> None:
        """Raise :class:`InputError` if the question lacks one of its three placeholders, or has one twice."""
        for place in _PLACES:
            if question.count(place) != 1:
                raise InputError(f"The question to an annotator must contain {place} exactly once, got {question!r}.")
        self.lm, self.question, self.batch_size = lm, question, batch_size
        asked = re.split("|".join(map(re.escape, _PLACES)), question)[-1] or "."  # what a verdict follows
        self.verdicts = lm.texts.responses([asked] * len(VERDICTS), VERDICTS)
        if self.verdicts[0] == self.verdicts[1]:
            raise InputError(f'"{lm.name}" cannot tell the verdicts "1" and "2" apart: its tokenizer knows neither.')

    def __call__(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> Array:
        """Return the probability (N,) that ``first`` is better."""
        return 0.5 * (self.in_order(prompts, first, second) + 1 - self.in_order(prompts, second, first))

    def in_order(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> Array:
        """Return the probability (N,) of the verdict "1" when ``first`` is shown as 1."""
        found = [np.zeros(0)]
        for start in range(0, len(prompts), self.batch_size):
            chunk = slice(start, start + self.batch_size)
            rows = zip(prompts[chunk], first[chunk], second[chunk], strict=True)
            log_probs = self._log_probs([self._ask(*row) for row in rows])
            found.append(1 / (1 + np.exp(np.clip(log_probs[:, 1] - log_probs[:, 0], -500, 500))))
        return np.concatenate(found)

    def _ask(self, prompt: str, first: str, second: str) -> list[int]:
        """The tokens of one question; a prompt that is too long is cut as elsewhere, the responses never."""
        texts = {"first": first.strip(), "second": second.strip()}
        hidden = {name: text.replace("{prompt}", "{ prompt }") for name, text in texts.items()}  # not our placeholder
        template = Template(re.sub(r"\{(first|second)\}", lambda match: hidden[match[1]], self.question))
        room = self.lm.context_length - max(map(len, self.verdicts))
        if len(self.lm.encode_prompt(template.render(""))) >= room:
            raise InputError(
                f"Two responses of {len(first)} and {len(second)} characters leave no room for their prompt in the "
                f'{self.lm.context_length} tokens of "{self.lm.name}".'
            )
        return fit_prompt(self.lm.encode_prompt, template, prompt, room).ids

    @torch.no_grad()
    def _log_probs(self, questions: Sequence[list[int]]) -> Array:
        """log π of each verdict, (questions, 2)."""
        examples = [
            {"prompt": question, "response": verdict, "group": row}
            for row, question in enumerate(questions)
            for verdict in self.verdicts
        ]
        batch = Collator(self.lm.pad_token_id)(examples)
        tokens, mask, prompt_of = (
            batch[name].to(self.lm.device) for name in ("input_ids", "attention_mask", "prompt_of")
        )
        width = batch["num_response"]
        log_probs = token_log_probs(self.lm.model, tokens, mask, width, self.lm.vocab_size, prompt_of=prompt_of)
        return log_probs.sum(1).double().cpu().numpy().reshape(-1, 2)


def load_annotator(
    name: str, *, device: str = "cpu", question: str = QUESTION, template: Template | None = None
) -> ModelAnnotator:
    """Load a model as an annotator.

    Args:
        name: ``"embedded"`` (the embedded preference model), a folder or a hub id: a sequence classifier judges by its
            score, any other model by its verdicts.
        device: where it runs.
        question: the question to a language model.
        template: the text around a prompt that a preference model expects; by default that of summaries, and none for
            one with a chat template.

    Raises:
        InputError: no such model, or an unsafe or unsuitable one; see the loaders.
    """
    if not _is_classifier(name):
        return LanguageModelAnnotator(LanguageModel.load(name, device=device), question)
    pm = PreferenceModel.load(name, device=device)
    around = template or pm.around

    def judge(prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> Array:
        bare = pm.chat and template is None
        answers = [[text if bare else around.render_response(text) for text in texts] for texts in (first, second)]
        return pm.probability([around.render(prompt) for prompt in prompts], answers[0], answers[1])

    return judge


def _is_classifier(name: str) -> bool:
    file = locate("embedded/preference" if name == "embedded" else name) / "config.json"
    try:
        architectures = read_object(file, {}, {"architectures": list[str] | None}, step="")["architectures"] or []
    except InputError:
        return False  # the loader of language models says what is wrong
    return any("SequenceClassification" in kind for kind in architectures)


def verdict(probability: float, tie: float = 0.0) -> str:
    """Return ``"first"``, ``"second"``, or ``"tie"`` if the probability is within ``tie`` of 0.5.

    >>> verdict(0.7), verdict(0.3), verdict(0.5), verdict(0.55, tie=0.1)
    ('first', 'second', 'tie', 'tie')
    """
    return TIE if abs(probability - 0.5) <= tie else FIRST if probability > 0.5 else SECOND


def ai_comparisons(
    annotator: ModelAnnotator, pairs: Sequence[TextPair], *, tie: float = 0.0, name: str | None = None
) -> list[Comparison]:
    """Let a model judge pairs: one comparison per pair, to train a preference model on.

    Args:
        annotator: from :func:`load_annotator`.
        pairs: what to judge.
        tie: a probability this close to 0.5 is a tie.
        name: of the annotator, to be recorded.
    """
    found = annotator(*([getattr(pair, part) for pair in pairs] for part in ("prompt", "first", "second")))
    comparisons = []
    for pair, probability in zip(pairs, found, strict=True):
        label = verdict(float(probability), tie)
        better, worse = (pair.second, pair.first) if label == SECOND else (pair.first, pair.second)
        comparisons.append(Comparison(pair.prompt, better, worse, tie=label == TIE, annotator=name))
    return comparisons
