"""Real comparisons and real posts: preference models cross-validated by prompt, and ROUGE-L increased by REINFORCE.

    python benchmarks/real_data.py --data FOLDER --output benchmarks/real_data     about 20 minutes on two cores
    python benchmarks/real_data.py --data FOLDER --quick --output /tmp/real        shows that it runs

FOLDER (default: $PREFGYM_REAL_DATA) contains `preferences/news_summaries_pairwise.json`,
`preferences/mt_bench_human.json` and `tldr/tldr_posts.jsonl`. The preference model is trained from the embedded start
policy's trunk, and from a small BERT whose WordPiece tokenizer is trained here and whose weights are random, as nothing
is downloaded. Writes one JSON of metrics per run, and README.md with the tables. Finished runs are not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from prefgym.cli import main as prefgym

COMPARISONS: dict[str, dict[str, str]] = {
    "news_summaries_pairwise": {
        "prompt_column": "article_text",
        "first_column": "writer_summary",
        "second_column": "text-davinci-002_summary",
        "label_column": "overall_writer_better",
        "label_map": "true=first,false=second,Equally Good=tie",
        "group_column": "article_id",
    },
    "mt_bench_human": {
        "prompt_column": "input",
        "first_column": "output_1",
        "second_column": "output_2",
        "label_column": "label",
        "label_map": "1=first,2=second",
    },
}
TRUNKS = ("llama", "bert")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROUGE = {
    "data.held_out": 0.4,
    "env.reward": "rouge_l",
    "env.kl_coef": 0.003,
    "env.missing_eos_penalty": 0.05,
    "agent.learning_rate": 0.001,
    "agent.total_episodes": 3072,
    "agent.episodes_per_iteration": 128,
    "agent.samples_per_prompt": 8,
    "agent.batch_size": 64,
}
SMALL = {
    "env.max_new_tokens": 8,
    "agent.total_episodes": 16,
    "agent.episodes_per_iteration": 8,
    "agent.batch_size": 8,
}
SHORT = {"folds": 2, "training.epochs": 1, "training.batch_size": 64}
SHORTEST = {"llama": 16, "bert": 64}  # tokens; the tokenizer of BERT is slow to cut texts to fewer
NEARLY_ALL = "0.999"  # of the posts in a file are judged


def run(words: Sequence[str], folder: Path, target: Path) -> dict[str, Any]:
    """Run one command, unless its metrics exist; return the metrics."""
    if not target.is_file():
        if prefgym([*words, "--output", str(folder), "--overwrite"]) != 0:
            sys.exit(f"{' '.join(words)} failed")
        target.parent.mkdir(parents=True, exist_ok=True)
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        if "data" in metrics:  # by name, wherever the folder is
            metrics["data"]["name"] = Path(metrics["data"]["name"]).name
        target.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    return dict(json.loads(target.read_text(encoding="utf-8")))


def flags(values: dict[str, Any], prefix: str = "") -> list[str]:
    """Settings as command-line words."""
    return [word for key, value in values.items() for word in (f"--{prefix}{key}", str(value))]


def climb(seed: int, posts: Path, scratch: Path, output: Path, extra: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Train on real posts; the metrics on the posts held out and on those trained on."""
    folder, seen = scratch / f"rouge-seed{seed}", scratch / f"trained-on-seed{seed}.jsonl"
    words = ["train", "--config", "tldr-reinforce", "--seed", str(seed), "--data.prompts", str(posts), *flags(ROUGE)]
    held_out = run([*words, *extra], folder, output / f"rouge-seed{seed}.json")
    target = output / f"rouge-seed{seed}-trained-on.json"
    if not target.is_file():
        samples = (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
        judged = {json.loads(line)["prompt"] for line in samples}
        lines = posts.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if json.loads(line)["prompt"] not in judged]
        seen.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    words = ["evaluate", str(folder), "--data.prompts", str(seen), "--data.held_out", NEARLY_ALL]
    return {"held out": held_out, "trained on": run(words, folder / "trained-on", target)}


def bert(texts: Sequence[str], folder: Path, hidden_size: int) -> Path:
    """Write a BERT with random weights and a WordPiece tokenizer trained on the texts."""
    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer()
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=2000, special_tokens=SPECIAL, show_progress=False)
    )
    pieces.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = BertTokenizer(vocab=pieces.get_vocab())
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=4 * hidden_size,
        max_position_embeddings=512,
    )
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def preference_table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown rows of the cross-validated preference models."""
    lines = ["| comparisons | model | n | prompts | accuracy | the longer one wins | chance |", "|" + " --- |" * 7]
    for name, metrics in results.items():
        crossed = metrics["cross_validation"]
        data, trunk = name.rsplit("-", 1)
        cells = [data, trunk, crossed["comparisons"], crossed["prompts"]]
        cells += [_rate(crossed["accuracy"]), _rate(crossed["longer"]), "50 %"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def rouge_table(results: list[dict[str, dict[str, Any]]]) -> str:
    """Markdown rows of the runs on real posts."""
    titles = ["seed", "posts", "n", "decoded", "start", "trained", "paired difference", "KL"]
    lines = [f"| {' | '.join(titles)} |", "|" + " --- |" * len(titles)]
    for seed, parts in enumerate(results):
        for part, metrics in parts.items():
            for way, policies in (("T = 1", metrics["policies"]), ("greedy", metrics["greedy"])):
                start, trained = policies["start"], policies["trained"]
                gain = trained["minus_start"]["rouge_l"]
                cells = [seed, part, metrics["prompts"], way, f"{start['rouge_l']:.3f}", f"{trained['rouge_l']:.3f}"]
                cells += [f"{gain['mean']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})", f"{trained['kl']:.1f}"]
                lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _rate(rate: dict[str, float]) -> str:
    return f"{100 * rate['mean']:.1f} % ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"


def main() -> None:
    """Run everything that is missing and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("PREFGYM_REAL_DATA"))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.data is None or not options.data.is_dir():
        parser.error("--data must name the folder of the real data")
    scratch = Path("runs") / "benchmark-real" if not options.quick else options.output / "runs"
    preferences = options.data / "preferences"
    texts = [json.dumps(json.loads((preferences / f"{name}.json").read_text("utf-8"))) for name in COMPARISONS]
    encoder = bert(texts, scratch / "bert", 16 if options.quick else 128)
    crossed = {}
    for name, columns in COMPARISONS.items():
        for trunk in TRUNKS:
            model = "embedded/start" if trunk == "llama" else str(encoder)
            words = ["reward", "--data.comparisons", str(preferences / f"{name}.json"), "--model", model]
            words += flags(columns, "data.")
            words += flags({**SHORT, "max-length": SHORTEST[trunk]}) if options.quick else []
            key = f"{name}-{trunk}"
            crossed[key] = run(words, scratch / key, options.output / f"{key}.json")
    posts, extra = options.data / "tldr" / "tldr_posts.jsonl", flags(SMALL) if options.quick else []
    seeds = range(1 if options.quick else options.seeds)
    climbed = [climb(seed, posts, scratch, options.output, extra) for seed in seeds]
    (options.output / "README.md").write_text(
        "# Real comparisons and real posts\n\n"
        f"`python benchmarks/real_data.py --data FOLDER --seeds {len(climbed)} --output benchmarks/real_data`\n\n"
        "A model this small cannot read these texts as a person does: it has 1.26 million parameters and learned to "
        "write on synthetic posts. A preference model then learns only from the surface.\n\n"
        "## Preference models, cross-validated by prompt\n\n95 % intervals; a tie counts half. The BERT starts from "
        f"random weights.\n\n{preference_table(crossed)}\n\n"
        "## ROUGE-L to the author's own summary\n\nREINFORCE (leave-one-out) on real Reddit posts, from the embedded "
        f"start policy, with `{' '.join(flags(ROUGE))}`. There are few training posts, so a rise on them need not "
        f"carry over to held-out posts.\n\n{rouge_table(climbed)}\n",
        encoding="utf-8",
    )
    print(preference_table(crossed), rouge_table(climbed), sep="\n\n")


if __name__ == "__main__":
    main()
