"""Special tokens that a tokenizer puts before a text reach the policy, count in budgets, and stay out of texts."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prefgym.agents import REINFORCE, collect_rollout
from prefgym.agents.policy import LMPolicy
from prefgym.envs import Enumerable, TokenEnv, TokenVectorEnv
from prefgym.errors import InputError
from prefgym.evaluation.policies.decode import decode
from prefgym.evaluation.policies.evaluate import evaluate_policies
from prefgym.evaluation.policies.responses import DecodeSettings
from prefgym.models.finetune import examples
from prefgym.models.language_model import LanguageModel

WORDS = ["<eos>", "<s>", "the", "cat", "ran", "home", "TL;DR:"]
EOS, BOS, THE, CAT, RAN, HOME, SO = range(7)


@pytest.fixture(scope="module")
def model():
    """A tiny Llama whose tokenizer puts <s> before a text and <eos> behind it."""
    core = Tokenizer(models.WordLevel({word: token for token, word in enumerate(WORDS)}, unk_token="home"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A <eos>", special_tokens=[("<s>", BOS), ("<eos>", EOS)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", bos_token="<s>")
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = LlamaConfig(**shape, vocab_size=7, max_position_embeddings=32, eos_token_id=EOS)
    return LanguageModel(LlamaForCausalLM(config), tokenizer, "with BOS")


def make(model, prompts=("the cat ran",), **options):
    options = {"max_prompt_tokens": 12, **options}
    return TokenEnv(model=model, prompts=list(prompts), reward="length", max_new_tokens=4, **options)


def test_a_prompt_begins_with_bos_once_and_does_not_end_with_eos(model):
    for prompt in ("the cat ran", "<s> the cat ran"):
        observation, _ = make(model, [prompt]).reset(seed=0)
        assert observation["tokens"][observation["attention_mask"] == 1].tolist() == [BOS, THE, CAT, RAN, SO]


def test_budgets_count_special_tokens(model):
    env = make(model, max_prompt_tokens=4)
    observation, _ = env.reset(seed=0)
    assert observation["tokens"][:4].tolist() == [BOS, THE, CAT, SO]
    assert env.truncated_prompts == 1
    with pytest.raises(InputError, match="leaves no room"):
        make(model, max_prompt_tokens=2)


def test_a_prompt_without_a_token_of_its_own_is_refused(model):
    env = make(model, template="{prompt}")
    with pytest.raises(InputError, match="no token"):
        env.reset(options={"prompt": "<s>"})


def test_fine_tuning_reads_what_the_environment_shows(model):
    (row,) = examples(model, [("the cat ran\n\nTL;DR:", " the cat")])
    observation, _ = make(model).reset(seed=0)
    assert row["prompt"] == observation["tokens"][observation["attention_mask"] == 1].tolist()
    assert row["response"] == [THE, CAT, EOS]
    with pytest.raises(InputError, match="empty response"):
        examples(model, [("the", "")])
    with pytest.raises(InputError, match="empty prompt"):
        examples(model, [("", " the")])


TURN = RAN  # a second token that ends a response


@pytest.fixture(scope="module")
def chat_model(model):
    """The same model, whose generation settings name a second EOS."""
    other = model.copy()
    other.model.generation_config = GenerationConfig(eos_token_id=[TURN, EOS])
    return LanguageModel(other.model, other.tokenizer, "chat")


@pytest.mark.parametrize("end", [EOS, TURN])
def test_any_eos_ends_an_episode_and_info_says_which(chat_model, end):
    env = make(chat_model, missing_eos_penalty=2.0)
    assert (env.eos_token_id, env.eos_token_ids) == (EOS, (EOS, TURN))
    env.reset(seed=0)
    _, _, terminated, _, info = env.step(CAT)
    assert not terminated
    assert "eos_token_id" not in info
    _, _, terminated, _, info = env.step(end)
    assert terminated
    assert (info["finish_reason"], info["eos_token_id"], info["response"]) == ("eos", end, "cat")
    assert info["score_parts"]["missing_eos_penalty"] == 0
    env.reset()
    for _ in range(4):
        *_, info = env.step(CAT)
    assert info["finish_reason"] == "length"
    assert "eos_token_id" not in info
    assert info["score_parts"]["missing_eos_penalty"] == -2


def test_rows_of_a_vector_environment_end_alike(chat_model):
    options = {"model": chat_model, "prompts": ["the cat"], "reward": "length", "max_prompt_tokens": 12}
    env = TokenVectorEnv(3, **options, max_new_tokens=4)
    env.reset(seed=0)
    _, _, terminated, _, infos = env.step(np.array([TURN, CAT, EOS]))
    assert terminated.tolist() == [True, False, True]
    assert infos["_eos_token_id"].tolist() == [True, False, True]
    assert infos["eos_token_id"][terminated].tolist() == [TURN, EOS]


def test_whole_rollouts_end_where_steps_do(chat_model):
    env = make(chat_model)
    policy = LMPolicy(chat_model.copy(), value_head=False)
    rollout = collect_rollout(env, policy, 32, generator=torch.Generator().manual_seed(0))
    last = [row[real][-1].item() for row, real in zip(rollout.response_tokens, rollout.response_mask, strict=True)]
    assert {EOS, TURN} < set(last)
    assert rollout.finish_reasons == ["eos" if token in (EOS, TURN) else "length" for token in last]
    for place, (row, real) in enumerate(zip(rollout.response_tokens, rollout.response_mask, strict=True)):
        env.reset()
        for token in row[real].tolist():
            *_, terminated, _, info = env.step(token)
        assert terminated
        assert (info["finish_reason"], info["score"]) == (rollout.finish_reasons[place], rollout.scores[place])


def test_a_policy_that_ends_elsewhere_is_refused(model, chat_model):
    with pytest.raises(InputError, match=r"ends a response at the tokens \[0\], .* at \[0, 4\]"):
        REINFORCE(model, make(chat_model))
    with pytest.raises(InputError, match=r"ends a response at the tokens \[0\]"):
        evaluate_policies({"mine": model}, chat_model, [{"prompt": "the"}])
    with pytest.raises(InputError, match="listed as ended by 0 alone"):
        Enumerable(num_tokens=6, model=chat_model)


def lengths(prompts, completions, **_):
    """A reward that remembers what it is given."""
    SEEN.extend(completions)
    return [float(len(text)) for text in completions]


SEEN: list[str] = []
STOPS = {"stop_strings": ["cat r", "homeh"], "missing_eos_penalty": 2.0}


def test_a_stop_string_ends_an_episode_and_is_not_scored(model):
    env = TokenEnv(model=model, prompts=["the"], reward=lengths, max_prompt_tokens=12, max_new_tokens=4, **STOPS)
    env.reset(seed=0)
    SEEN.clear()
    ends = [env.step(token)[2:] for token in (THE, CAT, RAN)]
    assert [end[0] for end in ends] == [False, False, True]
    info = ends[-1][-1]
    assert (info["finish_reason"], info["response"], info["score"]) == ("stop", "the ", 4.0)
    assert SEEN == ["the "]
    assert "eos_token_id" not in info
    env.reset()
    for token in (THE, CAT, CAT, CAT):
        *_, info = env.step(token)
    assert (info["finish_reason"], info["score"]) == ("length", len("the cat cat cat") - 2.0)


def test_rollouts_steps_vectors_and_decoding_stop_at_the_same_token(model):
    options = {"model": model, "prompts": ["the cat"], "reward": lengths, "max_prompt_tokens": 12, **STOPS}
    env, vector = TokenEnv(**options, max_new_tokens=8), TokenVectorEnv(2, **options, max_new_tokens=8)
    policy = LMPolicy(model.copy(), value_head=False)
    rollout = collect_rollout(env, policy, 48, generator=torch.Generator().manual_seed(0))
    assert {"stop", "eos"} <= set(rollout.finish_reasons)
    for place, (row, real) in enumerate(zip(rollout.response_tokens, rollout.response_mask, strict=True)):
        env.reset()
        vector.reset()
        for token in row[real].tolist():
            *_, terminated, _, info = env.step(token)
            *_, ended, _, infos = vector.step(np.array([token, THE]))
        assert terminated
        assert ended[0]
        assert not ended[1] or len(row[real]) == 8
        told = (info["finish_reason"], info["response"], info["score"])
        assert told == (rollout.finish_reasons[place], rollout.responses[place], rollout.scores[place])
        assert infos["finish_reason"][0] == told[0]
    settings = DecodeSettings(env.template, 12, 8, stop_strings=STOPS["stop_strings"])
    written = decode(model, [{"prompt": "the cat"}] * 48, settings)
    assert written.stopped is not None
    assert written.stopped.any()
    for text, row, real, stopped, ended, cut in zip(
        written.texts, written.tokens, written.mask, written.stopped, written.ended, written.cut_off, strict=True
    ):
        whole = model.decode(row[real])
        assert stopped == (not ended and any(stop in whole for stop in STOPS["stop_strings"]))
        assert cut == (not stopped and not ended)
        assert not any(stop in text for stop in STOPS["stop_strings"])
    assert written.select([0, 3]).stopped.tolist() == written.stopped[[0, 3]].tolist()


def test_rewards_receive_the_special_tokens_that_are_kept(model):
    SEEN.clear()
    env = TokenEnv(
        model=model,
        prompts=["the"],
        reward=lengths,
        max_prompt_tokens=12,
        max_new_tokens=4,
        keep_special_tokens=["<s>"],
    )
    env.reset(seed=0)
    for token in (BOS, CAT, EOS):
        *_, info = env.step(token)
    assert SEEN == [info["response"]] == ["<s> cat"]
    assert env.keep_special_tokens == ["<s>"]


def test_listed_responses_know_no_stop_strings():
    with pytest.raises(InputError, match="leave out stop_strings"):
        Enumerable(stop_strings=["a"])
