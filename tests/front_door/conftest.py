"""A tiny random model family in folders, tiny data files, and the command line called in this process."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from matplotlib.figure import Figure
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prefgym.cli import main
from prefgym.data.world import post
from prefgym.models.language_model import LanguageModel
from prefgym.rewards.preference_model import PreferenceModel

EOS = "<|endoftext|>"


class Result(NamedTuple):
    code: int
    out: str
    err: str


_rendered: dict[str, bytes] = {}


@pytest.fixture(scope="module", autouse=True)
def _pictures_drawn_once() -> Iterator[None]:
    """Rendering is most of the time of a command. Each kind of picture, by its heading, is rendered once; then it is
    the same picture again."""
    render = Figure.savefig

    def savefig(figure: Figure, buffer: io.BytesIO, **options: Any) -> None:
        kind = figure.get_suptitle()
        if kind not in _rendered:
            render(figure, buffer, **options)
            _rendered[kind] = buffer.getvalue()
        else:
            buffer.write(_rendered[kind])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        yield


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on a few posts of the embedded world."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=[EOS], initial_alphabet=alphabet, show_progress=False)
    core.train_from_iterator([post("train", index).text for index in range(50)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=EOS, pad_token=EOS)


@pytest.fixture(scope="session")
def language_model(tokenizer: PreTrainedTokenizerFast) -> LanguageModel:
    """A random Llama of two narrow layers."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        initializer_range=0.2,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LanguageModel(LlamaForCausalLM(config), tokenizer, "tiny")


@pytest.fixture(scope="session")
def model_folder(language_model: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    language_model.save(folder)
    return folder


@pytest.fixture(scope="session")
def preference_folder(language_model: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "preference"
    PreferenceModel.from_language_model(language_model, seed=1).save(folder)
    return folder


@pytest.fixture(scope="session")
def train_flags(model_folder: Path, preference_folder: Path) -> list[str]:
    """Two short iterations of PPO on embedded posts, cut to fit the tiny model, judged on six posts."""
    return [
        *("--env.model", str(model_folder), "--env.reward", str(preference_folder)),
        *("--env.max_prompt_tokens", "40", "--env.max_new_tokens", "6"),
        *("--agent.total_episodes", "16", "--agent.episodes_per_iteration", "8", "--agent.samples_per_prompt", "2"),
        *("--agent.batch_size", "8", "--agent.n_epochs", "1", "--agent.learning_rate", "0.01"),
        *("--agent.save_every", "1", "--evaluation.prompts", "6"),
    ]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """``run("train", "--seed", 1)`` -> exit code and what was printed."""

    def call(*words: object) -> Result:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture
def refused(run: Callable[..., Result]) -> Callable[..., str]:
    """``refused("train", ...)`` -> the one line on stderr; the command must refuse with exit code 2."""

    def call(*words: object) -> str:
        result = run(*words)
        lines = result.err.splitlines()
        assert result.code == 2, result
        assert len(lines) == 1, result.err
        assert "Traceback" not in result.out + result.err
        return lines[0]

    return call


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[[str, list[dict]], Path]:
    """``write_rows("posts.jsonl", rows)`` -> the path of a JSON Lines file."""

    def write(name: str, rows: list[dict]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def posts() -> list[dict]:
    """Thirty posts with their summaries, as a user's rows."""
    made = [post("train", index) for index in range(30)]
    return [{"prompt": item.text, "reference": item.reference} for item in made]


@pytest.fixture(scope="session")
def finished_run(train_flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training run; tests only read it."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert main(["train", *train_flags, "--output", str(folder)]) == 0
    return folder
