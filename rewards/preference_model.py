"""A learned preference: a sequence classifier with one output, used as a Bradley-Terry score of a text.

Takes text, so its tokenizer and architecture may differ from the policy's. Nothing here trains; see ``training.py``.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from ..data.chat_template import Asked, ChatTemplate, has_chat_template
from ..data.progress import progress_bar
from ..data.prompting import AnyTemplate, restored
from ..data.templates import PLAIN, SUMMARIZE, Template, render_conversation
from ..errors import InputError
from ..models.folder import (
    check_vocabulary,
    checksum,
    first_sentence,
    locate,
    model_folder,
)
from ..models.gguf_file import is_gguf
from ..models.language_model import LanguageModel, disable_dropout
from ..models.placing import check_one_device, device_named
from ..models.prompting import read_prompting, write_prompting
from .chat_texts import ChatTexts, as_trained, key_of
from .encoded import Cuts, Encoded, padded
from .plain_texts import JoinedTexts, TextPairs
from .preference_folder import FACTS_FILE, read_classifier, tokenizer_to_save, told_beside
from .scorer import Scorer, fold_into_head, init_head
from .training_rows import UNKNOWN, TrainingRows

_UNBOUNDED = 1_000_000  # tokenizers express "no limit" by numbers far above this


class PreferenceModel:
    """Scores a response to a prompt: (logit - shift) / temperature.

    The shift makes reference responses average 0; the temperature makes sigma(score_a - score_b) a calibrated
    probability that people prefer a. The scored text is prompt, response, EOS for decoders, tokenised as one text with
    what the tokenizer puts before it (BOS), and the text pair (prompt, response) for encoders. If that is too long,
    the end of the prompt is cut, and the end of the response only if the response alone does not fit.

    What :meth:`save` writes gives everybody else the same score, up to a constant: the temperature is then in the head,
    and the shift too if the head has a bias.

    Attributes:
        model: a sequence classifier with one output.
        tokenizer: its own tokenizer.
        name: the name the user gave.
        shift: logit of an average reference response.
        temperature: positive divisor.
        max_length: maximum number of tokens it reads.
        facts: how it was trained, as saved next to the weights.
        skipped_token_id: a decoder is read before such tokens at the end of a text. transformers does so with the
            padding id, so a model made elsewhere with EOS as padding was never read at EOS. None: nothing is skipped.
        chat: whether it reads conversations through the chat template of its tokenizer, without adding EOS; a prompt
            that is a text is the user's message. By default where there is such a template.
        template: of the prompts that it was trained on; None where nobody says. In an environment each prompt is put
            into it; prompts given to :meth:`score` stand in it already, but for a chat template.
        types: whether an encoder that takes token types gets them; else as its tokenizer gives them, which is how
            models are read that are trained elsewhere.
        cuts: how many of the texts scored so far were cut.
        rows: hashes of what it was trained on, as saved next to the weights.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str = "preference model",
        shift: float = 0.0,
        temperature: float = 1.0,
        max_length: int | None = None,
        facts: dict[str, Any] | None = None,
        skipped_token_id: int | None = None,
        chat: bool | None = None,
        template: AnyTemplate | None = None,
        types: bool = True,
        rows: TrainingRows = UNKNOWN,
    ) -> None:
        """Check that model and tokenizer belong together, and switch dropout off, as for language models.

        Raises:
            InputError: not exactly one output, another vocabulary, no EOS for a decoder, or an unusable shift,
                temperature or length.
        """
        if model.config.num_labels != 1:
            raise InputError(f'"{name}" has {model.config.num_labels} outputs; a preference model needs exactly one.')
        if model.config.is_encoder_decoder:
            raise InputError(f'"{name}" is an encoder-decoder; use a decoder or an encoder as preference model.')
        vocab_size = max(tokenizer.get_vocab().values(), default=-1) + 1
        check_vocabulary(name, vocab_size, _num_rows(model))
        if not (math.isfinite(shift) and math.isfinite(temperature) and temperature > 0):
            raise InputError(
                f'"{name}" has shift {shift} and temperature {temperature}; both must be finite, the second above 0.'
            )
        check_one_device(model, name)
        disable_dropout(model)  # attention with dropout has no fused kernel: half the speed and four times the memory
        self.scorer = Scorer(model)
        if self.scorer.is_decoder and tokenizer.eos_token_id is None:
            raise InputError(f'The tokenizer of "{name}" has no EOS token, at which a decoder\'s score is read.')
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        self.shift = shift
        self.temperature = temperature
        self.max_length = self._check_length(max_length)
        self.facts = dict(facts or {})
        self.skipped_token_id = skipped_token_id
        if chat is None:
            chat = has_chat_template(tokenizer) and not isinstance(template, Template)
        self.chat = chat
        self.template = template if isinstance(template, ChatTemplate) == chat else None
        self.types = types
        self.cuts = Cuts()
        self.rows = rows

    def _check_length(self, asked: int | None) -> int:
        limits = [getattr(self.model.config, "max_position_embeddings", None), self.tokenizer.model_max_length]
        context = min((int(limit) for limit in limits if limit and limit < _UNBOUNDED), default=_UNBOUNDED)
        if asked is not None and not 4 <= asked <= context:
            raise InputError(f'max_length of "{self.name}" must be 4 to {context} tokens, not {asked}.')
        return asked or context

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        chat: bool | None = None,
    ) -> PreferenceModel:
        """Load a trained preference model: ``"embedded"``, a folder, or a hub id.

        A folder without ``preference.json`` (trained elsewhere, with TRL for example) has shift 0 and temperature 1,
        and is read where transformers reads it, through its chat template if it has one; ``chat`` decides otherwise,
        for one that was trained on bare texts. The weights are stored in ``dtype``, those of a decoder's head in fp32.

        Raises:
            InputError: the folder is missing, has no weights or only pickled ones, or no trained score with one output.
        """
        name = "embedded/preference" if str(name_or_path) == "embedded" else str(name_or_path)
        device, folder = device_named(device), locate(name)
        model, tokenizer, missing = read_classifier(folder, name, dtype)
        if missing:
            raise InputError(f'"{name}" has no trained score ({missing[0]} is missing); `prefgym reward` trains one.')
        stored = read_prompting(folder)
        template = restored(stored, tokenizer, name) if stored else None
        facts = {**told_beside(folder, model), "template": template}
        facts = facts if chat is None else {**facts, "chat": chat}
        model.to(device)  # type: ignore[arg-type]
        return cls(model, tokenizer, name=name, rows=TrainingRows.read(folder), **facts).freeze()

    @classmethod
    def start(
        cls,
        name_or_path: str | Path,
        *,
        device: str | torch.device = "cpu",
        max_length: int | None = None,
        seed: int = 0,
    ) -> PreferenceModel:
        """Load a model to train: a causal language model, an encoder, or a preference model to train further.

        A missing head is initialised by :func:`init_head`.

        Raises:
            InputError: as :meth:`load`, or the folder lacks weights of the trunk.
        """
        name = str(name_or_path)
        if is_gguf(locate(name)):
            return cls.from_language_model(LanguageModel.load(name, device=device), max_length=max_length, seed=seed)
        with torch.random.fork_rng(devices=[]):  # other missing weights, such as a pooler, are drawn too
            torch.manual_seed(seed)
            model, tokenizer, missing = read_classifier(locate(name), name, num_labels=1)
        trunk = [key for key in missing if key.startswith(f"{model.base_model_prefix}.") and ".pooler." not in key]
        if trunk:
            raise InputError(f'The weights in "{name}" do not fit its config.json: {trunk[0]} is missing.')
        if missing:
            init_head(model, seed)
        kept = {} if missing else told_beside(locate(name), model)
        kept = {key: kept[key] for key in ("skipped_token_id", "chat", "types") if key in kept}
        rows = TrainingRows() if missing else TrainingRows.read(locate(name))
        model.to(device_named(device))  # type: ignore[arg-type]
        return cls(model, tokenizer, name=name, max_length=max_length, rows=rows, **kept)

    @classmethod
    def from_language_model(cls, lm: LanguageModel, *, max_length: int | None = None, seed: int = 0) -> PreferenceModel:
        """Return a model to train, on a copy of the trunk of ``lm``, with a new head from :func:`init_head`."""
        config = copy.deepcopy(lm.model.config)
        config.num_labels = 1
        try:
            model = AutoModelForSequenceClassification.from_config(config)
        except ValueError as error:
            raise InputError(f'"{lm.name}" has no sequence classifier: {first_sentence(error)}') from error
        model.base_model.load_state_dict(lm.model.base_model.state_dict())
        init_head(model, seed)
        model.to(lm.device)
        return cls(model, lm.tokenizer, name=lm.name, max_length=max_length, rows=TrainingRows())

    def save(self, folder: str | Path) -> None:
        """Write a model folder (safetensors, JSON, tokenizer) with ``preference.json`` next to the weights.

        What it was trained on stands there too, as hashes in ``training_rows.json``.

        Afterwards :meth:`fold` holds for this model too. Padding is a token at which no text ends, if there is one, as
        transformers looks for the end of a text by the padding id.
        """
        self.fold()
        facts = {
            "shift": self.shift,
            "temperature": self.temperature,
            "max_length": self.max_length if self.max_length < _UNBOUNDED else None,
            "facts": self.facts,
            "skipped_token_id": self.skipped_token_id,
            "chat": self.chat,
            "types": self.types,
        }
        tokenizer = tokenizer_to_save(self.model, self.tokenizer, self.skipped_token_id)
        with model_folder(folder) as temporary:
            self.model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
            (temporary / FACTS_FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
            write_prompting(temporary, self.template.stored() if self.template else None)
            self.rows.write(temporary)

    def fold(self) -> PreferenceModel:
        """Divide the head by the temperature, and subtract the shift in its bias; scores stay the same. Return self.

        The temperature is then 1; the shift is 0 or, where the head has no bias, the constant between output and score.
        """
        if (self.shift, self.temperature) != (0.0, 1.0):
            self.model.eval()
            left = fold_into_head(self.scorer, self.shift, self.temperature)
            if left is not None:
                self.shift, self.temperature = left, 1.0
        return self

    def prompted_with(self, template: AnyTemplate) -> PreferenceModel:
        """Say by which template the prompts are made that it is trained on; return self."""
        self.template, self.chat = template, isinstance(template, ChatTemplate)
        return self

    @property
    def prompts_cut(self) -> int:
        """Texts scored so far whose prompt was cut."""
        return self.cuts.prompts

    @property
    def responses_cut(self) -> int:
        """Texts scored so far whose response was cut."""
        return self.cuts.responses

    @property
    def around(self) -> Template:
        """The text that prompts given to :meth:`score` stand in: nothing where a chat template adds its own."""
        if self.chat:
            return PLAIN
        return self.template if isinstance(self.template, Template) else SUMMARIZE

    def freeze(self) -> PreferenceModel:
        """Disable gradients for all parameters; return self."""
        self.model.requires_grad_(False)
        return self

    def checksum(self) -> str:
        """Return a SHA-256 over all weights and their names."""
        return checksum(self.model)

    def score(self, prompts: Sequence[Asked], responses: Sequence[str], batch_size: int = 64) -> NDArray[np.float64]:
        """Return (logit - shift) / temperature (B,) of B responses to B prompts; the same in any batch."""
        return (self.logits(prompts, responses, batch_size) - self.shift) / self.temperature

    def logits(self, prompts: Sequence[Asked], responses: Sequence[str], batch_size: int = 64) -> NDArray[np.float64]:
        """Return the classifier's raw outputs (B,)."""
        rows = self.encode(prompts, responses)
        result = np.zeros(len(rows))
        longest: dict[str, int] = {}
        keys = [key_of(prompt) for prompt in prompts]
        for key, row in zip(keys, rows, strict=True):
            longest[key] = max(longest.get(key, 0), len(row.input_ids))
        order = sorted(range(len(rows)), key=lambda i: (-longest[keys[i]], keys[i]))  # those of a prompt adjacent
        self.model.eval()
        with torch.no_grad(), progress_bar("scoring", len(order), unit="text") as bar:
            for start in range(0, len(order), batch_size):
                chunk = order[start : start + batch_size]
                batch = self.collate([rows[i] for i in chunk], share_prompts=True)
                result[chunk] = self.scorer(**batch).double().cpu().numpy()
                bar.update(len(chunk))
        return result

    def probability(
        self, prompts: Sequence[Asked], first: Sequence[str], second: Sequence[str], batch_size: int = 64
    ) -> NDArray[np.float64]:
        """Return P(first is preferred to second) = sigma(score_first - score_second), (B,)."""
        scores = self.score([*prompts, *prompts], [*first, *second], batch_size)
        difference = scores[: len(prompts)] - scores[len(prompts) :]
        return 1 / (1 + np.exp(-np.clip(difference, -500, 500)))

    def __call__(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        conversation: Sequence[Any] | None = None,
        prompt_body: Sequence[str | None] | None = None,
        prompt_framed: Sequence[bool] | None = None,
        **columns: Any,
    ) -> list[float]:
        """Score completions, with the signature of every reward; prompts as it was trained to read them."""
        none, framed = [None] * len(prompts), prompt_framed or [True] * len(prompts)
        rows = zip(prompts, completions, conversation or none, prompt_body or none, framed, strict=True)
        return self.score(*as_trained(self.template, self.chat, rows)).tolist()

    def encode(self, prompts: Sequence[Asked], responses: Sequence[str]) -> list[Encoded]:
        """Return the tokens of each text, cut to fit. Prompts may be conversations where the model reads them."""
        if len(prompts) != len(responses):
            raise ValueError(f"{len(prompts)} prompts and {len(responses)} responses")
        if self.chat:
            own = self.template if isinstance(self.template, ChatTemplate) else None
            template = own or ChatTemplate(self.tokenizer, name=self.name)
            return ChatTexts(template, self.max_length, self.cuts, self.scorer.is_decoder)(prompts, responses)
        asked = [prompt if isinstance(prompt, str) else render_conversation(prompt) for prompt in prompts]
        if self.scorer.is_decoder:
            return JoinedTexts(self.tokenizer, self.max_length, self.cuts)(asked, responses)
        return TextPairs(self.tokenizer, self.max_length, self.cuts, self.scorer.takes_types, self.types)(
            asked, responses
        )

    def collate(self, rows: Sequence[Encoded], *, share_prompts: bool = False) -> dict[str, Tensor]:
        """Pad encoded texts on the right to one batch on the model's device, (B, L) each.

        With ``share_prompts`` the batch says which texts of a decoder begin with the same prompt, so that
        :class:`prefgym.rewards.scorer.Scorer` reads it once; this pays if a prompt has several responses.
        """
        rows = [self._read_part(row) for row in rows]
        pad = self.tokenizer.pad_token_id
        batch = padded(rows, 0 if pad is None else int(pad), share_prompts)
        return {name: tensor.to(self.model.device) for name, tensor in batch.items()}

    def _read_part(self, row: Encoded) -> Encoded:
        """A text up to the token where the score is read: nothing behind it changes that."""
        if self.skipped_token_id is None:
            return row
        length = next((i for i in range(len(row.input_ids), 0, -1) if row.input_ids[i - 1] != self.skipped_token_id), 1)
        return Encoded(row.input_ids[:length], prompt_length=min(row.prompt_length, length - 1))


def _num_rows(model: PreTrainedModel) -> int:
    """Rows of the embedding matrix."""
    rows = model.get_input_embeddings().weight
    assert isinstance(rows, Tensor)
    return rows.shape[0]
