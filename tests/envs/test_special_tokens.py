"""Special tokens that a tokenizer puts before a text reach the policy, count in budgets, and stay out of texts."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prefgym.envs import TokenEnv
from prefgym.errors import InputError
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
