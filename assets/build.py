"""How the embedded models are made: tokenizer, pretrained model, start policy, comparisons, preference model.

Each stage reads the folders of finished stages and writes one more; a finished stage is not made again, so a stopped
build continues where it was. Everything comes from the embedded world (synthetic posts) and one seed: the same seed on
the same machine gives the same weights.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ..data.comparisons import Comparison
from ..data.templates import SUMMARIZE
from ..data.world import Post, comments, oracle, post
from ..data.world.corruptions import one_wrong_fact, several_wrong_facts
from ..data.world.drafts import stable_hash
from ..data.world.posts import further_references
from ..files import write_text
from ..models.finetune import finetune, pretrain
from ..models.language_model import LanguageModel
from ..rewards.accuracy import accuracy
from ..rewards.annotators import simulate_comparisons
from ..rewards.preference_model import PreferenceModel
from ..rewards.training import calibrate_temperature, reference_shift, train_preference_model
from ..storage.whole import whole_folder
from ..typed_json import read_object, read_rows
from .candidates import candidates
from .cards import card
from .checks import check_preference, check_start
from .sizes import Size

METRICS = "build.json"
EOS, PAD = "<|endoftext|>", "<|pad|>"
MODELS = ("pretrained", "start", "preference")
STAGES = ("tokenizer", "pretrained", "start", "comparisons", "preference")

REPLIES = 7  # many: this is where a small model learns to copy

PAIRS_PER_POST = 20

# Each stage reads its own range of posts; RL reads from 1,000,000 on.
COMPARISON_POSTS_FROM = 400_000
LESSON_POSTS_FROM = 600_000


class Build:
    """One build in ``folder``; ``run`` makes what is missing, stage after stage."""

    def __init__(self, folder: Path, size: Size, seed: int = 0, progress: bool = True) -> None:
        self.folder, self.size, self.seed, self.progress = folder, size, seed, progress

    def run(self, last: str = STAGES[-1]) -> dict[str, dict[str, Any]]:
        """Make every missing stage up to ``last``; gives the metrics of all of them by stage."""
        stages: dict[str, Callable[[Path], dict[str, Any]]] = {
            "tokenizer": self.tokenizer,
            "pretrained": self.pretrained,
            "start": self.start,
            "comparisons": self.comparisons,
            "preference": self.preference,
        }
        wanted = STAGES[: STAGES.index(last) + 1]
        return {name: self._stage(name, stages[name]) for name in wanted}

    def _stage(self, name: str, make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """Make one stage in a temporary folder that gets its name only when complete."""
        target, metrics_file = self.folder / name, self.folder / name / METRICS
        if metrics_file.is_file():
            return read_object(metrics_file, {}, step=f"remove {target} to make it again")
        torch.manual_seed(self.seed)
        if self.progress:
            print(f"build-assets: {name}", flush=True)
        began = time.perf_counter()
        with whole_folder(target, "build-assets") as partial:
            metrics = {**make(partial), "seconds": round(time.perf_counter() - began), "seed": self.seed}
            write_text(partial / METRICS, json.dumps(metrics, indent=1) + "\n")
            if name in MODELS:
                write_text(partial / "README.md", card(name, metrics))
        return metrics

    def tokenizer(self, folder: Path) -> dict[str, Any]:
        """Byte-level BPE on posts and replies: any text encodes."""
        core = Tokenizer(models.BPE())
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.size.vocab_size,
            special_tokens=[EOS, PAD],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        core.train_from_iterator(map(_with_summary, _posts("train", self.size.tokenizer_posts)), trainer)
        PreTrainedTokenizerFast(tokenizer_object=core, eos_token=EOS, pad_token=PAD).save_pretrained(folder)
        return {"vocabulary": core.get_vocab_size(), "posts": self.size.tokenizer_posts}

    def pretrained(self, folder: Path) -> dict[str, Any]:
        """Next-token prediction on posts followed by readers' replies, which teach a small model to copy facts."""
        size = self.size
        tokenizer = PreTrainedTokenizerFast.from_pretrained(self.folder / "tokenizer")
        shape = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.hidden_size,
            intermediate_size=size.intermediate_size,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.heads,
            max_position_embeddings=size.context,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        lm = LanguageModel(LlamaForCausalLM(shape), tokenizer, "embedded/pretrained")
        facts = pretrain(
            lm.model,
            tokenizer([_thread(p) for p in _posts("train", size.pretrain_posts)])["input_ids"],
            eos_token_id=lm.eos_token_id,
            eval_documents=tokenizer([_thread(p) for p in _posts("validation", size.held_out)])["input_ids"],
            learning_rate=2e-3,
            batch_size=size.batch_size,
            bf16=size.bf16,
            seed=self.seed,
            progress=self.progress,
        )
        lm.save(folder)
        return {"posts": size.pretrain_posts, "parameters": lm.num_parameters, **facts}

    def start(self, folder: Path) -> dict[str, Any]:
        """Fine-tuning on the posts' own uneven TL;DRs, to the minimum of the held-out loss."""
        lm = LanguageModel.load(self.folder / "pretrained")
        facts = finetune_start(lm, self.size, self.seed, self.progress)
        lm.save(folder)
        checks = check_start(lm, list(_posts("validation", self.size.held_out)), self.seed)
        return {"posts": self.size.finetune_posts, "parameters": lm.num_parameters, **facts, "checks": checks}

    def comparisons(self, folder: Path) -> dict[str, Any]:
        """Let simulated annotators compare summaries of several qualities; held-out posts are a separate split."""
        start = LanguageModel.load(self.folder / "start")
        pretrained = LanguageModel.load(self.folder / "pretrained")
        metrics: dict[str, Any] = {}
        for split, count in (("train", self.size.comparison_posts), ("validation", self.size.held_out)):
            posts = list(_posts(split, count, COMPARISON_POSTS_FROM if split == "train" else 0))
            texts = candidates(posts, start, pretrained, self.seed)
            simulated = simulate_comparisons(posts, texts, seed=self.seed, pairs_per_post=PAIRS_PER_POST)
            rows = [
                {"prompt": SUMMARIZE.render(c.prompt), "chosen": c.chosen, "rejected": c.rejected}
                for c in simulated.comparisons
            ]
            write_text(folder / f"{split}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
            metrics[split] = {"posts": count, "comparisons": len(rows), "ceiling": simulated.ceiling}
        return metrics

    def preference(self, folder: Path) -> dict[str, Any]:
        """Bradley-Terry training of the start policy's trunk, then calibration and reference shift.

        First on pairs whose better text is known by construction, as one has the wrong facts: there a small model
        learns to look facts up in the post, which it hardly does from votes on everything together (preference model
        pretraining, Askell et al. 2021, section 4). Then on the annotators' choices.
        """
        source = self.folder / "comparisons"
        train, held_out = (_read_comparisons(source / f"{split}.jsonl") for split in ("train", "validation"))
        start = LanguageModel.load(self.folder / "start")
        pm = PreferenceModel.from_language_model(start, seed=self.seed).prompted_with(SUMMARIZE)
        posts = list(_posts("validation", self.size.held_out))
        common: dict[str, Any] = {"bf16": self.size.bf16, "seed": self.seed, "progress": self.progress}
        lessons = [c for p in _posts("train", self.size.lesson_posts, LESSON_POSTS_FROM) for c in _lessons(p)]
        held_out_lessons = [comparison for p in posts for comparison in _lessons(p)]
        pretraining = train_preference_model(
            pm,
            lessons,
            eval_comparisons=held_out_lessons,
            learning_rate=7e-4,
            batch_size=24,
            **common,
        )
        pretraining["accuracy"] = accuracy(pm, held_out_lessons)
        facts = train_preference_model(
            pm,
            train,
            eval_comparisons=held_out,
            epochs=self.size.preference_epochs,
            learning_rate=5e-4,
            batch_size=self.size.preference_batch,
            **common,
        )
        facts["accuracy"] = accuracy(pm, held_out)
        temperature = calibrate_temperature(pm, held_out)
        pairs = [pair for p in posts for pair in _pairs(p, 1)]
        reference_shift(pm, [prompt for prompt, _ in pairs], [reference for _, reference in pairs])
        pm.save(folder)
        again = f"remove {source} to make it again"
        ceiling = read_object(source / METRICS, {"validation": {"ceiling": float}}, step=again)["validation"]["ceiling"]
        checks = check_preference(pm, start, posts, self.seed)
        return {
            **facts,
            "ceiling": ceiling,
            "temperature": temperature,
            "shift": pm.shift,
            "checks": checks,
            "pretraining": pretraining,
        }


def finetune_start(
    lm: LanguageModel, size: Size, seed: int = 0, progress: bool = False, **options: Any
) -> dict[str, Any]:
    """Fine-tune ``lm`` in place on ``size.finetune_posts`` posts with their references; the metrics of ``finetune``.

    Each post has several references, all as its author might write: a batch reads the post once for all of them, and
    the model sees that the same post can be told in more than one way. ``options`` are further options of ``finetune``.
    """

    def pairs(split: str, count: int) -> list[tuple[str, str]]:
        return [pair for p in _posts(split, count) for pair in _pairs(p, size.references)]

    return finetune(
        lm,
        pairs("train", size.finetune_posts),
        eval_pairs=pairs("validation", size.held_out),
        keep_best=True,
        learning_rate=2e-3,
        batch_size=size.finetune_batch,
        bf16=size.bf16,
        seed=seed,
        progress=progress,
        **options,
    )


def _posts(split: str, count: int, first: int = 0) -> Iterator[Post]:
    return (post(split, index) for index in range(first, first + count))


def _with_summary(item: Post) -> str:
    return f"{_thread(item)}\n{item.reference}"


def _thread(item: Post) -> str:
    """A post and the replies under it, as one document."""
    return "\n\n".join([item.text, *comments(item, REPLIES)])


def _pairs(item: Post, count: int) -> list[tuple[str, str]]:
    """The post with its reference, and with others that its author might have written: ``count`` pairs."""
    prompt, references = SUMMARIZE.render(item.text), [item.reference, *further_references(item, count - 1)]
    return [(prompt, SUMMARIZE.render_response(reference)) for reference in references]


def _lessons(item: Post) -> list[Comparison]:
    """The oracle's summary against the same with one fact wrong and with several, and these two against each other."""
    rng = random.Random(stable_hash("lessons", item.split, item.index))
    best = oracle(item)
    texts = [best, one_wrong_fact(item, best, rng), several_wrong_facts(item, best, rng)]
    whole, one, several = map(SUMMARIZE.render_response, texts)
    prompt = SUMMARIZE.render(item.text)
    return [Comparison(prompt, a, b) for a, b in ((whole, one), (whole, several), (one, several)) if a != b]


def _read_comparisons(path: Path) -> list[Comparison]:
    kinds = dict.fromkeys(("prompt", "chosen", "rejected"), str)
    rows = read_rows(path, kinds, step=f"remove {path.parent} to make it again")
    return [Comparison(row["prompt"], row["chosen"], row["rejected"]) for row in rows]
