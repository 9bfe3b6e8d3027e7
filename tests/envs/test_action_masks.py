import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit

from prefgym.agents import PPO
from prefgym.envs.tiny_world import tiny_language_model
from prefgym.errors import InputError

ACTIONS = np.random.default_rng(1).choice(6, size=(7, 3))


def expected(make_policy, env, observation, top_k=0, top_p=1.0):
    """By a plain forward of the reference: the k likeliest, cut where the mass before a token reaches p."""
    probabilities = np.exp(make_policy(env.reference).log_probs(observation))
    order = np.argsort(-probabilities)[: top_k or None]
    kept = probabilities[order] / probabilities[order].sum()
    before = np.cumsum(kept) - kept
    mask = np.zeros(len(probabilities), dtype=bool)
    mask[order[before < top_p]] = True
    return mask


@pytest.mark.parametrize("options", [{"top_k": 2}, {"top_p": 0.6}, {"top_k": 3, "top_p": 0.5}, {"top_p": 1e-6}])
def test_masks_are_the_references_likeliest_tokens(make_env, make_policy, options):
    env = make_env(max_new_tokens=8, **{f"mask_{name}": value for name, value in options.items()})
    observation, _ = env.reset(seed=0)
    counts = []
    for action in (1, 0, 4, 3):
        mask = env.action_masks()
        assert mask.dtype == np.bool_
        np.testing.assert_array_equal(mask, expected(make_policy, env, observation, **options))
        counts.append(mask.sum())
        observation, *_ = env.step(action)
    assert min(counts) >= 1
    if options == {"top_p": 1e-6}:
        assert counts == [1] * 4, "the likeliest token is always allowed"


def test_without_options_everything_is_allowed(make_env, make_vector_env):
    env = make_env()
    env.reset(seed=0)
    assert env.action_masks().tolist() == [True] * 6
    vector = make_vector_env(3)
    vector.reset(seed=0)
    assert vector.action_masks().shape == (3, 6)
    assert vector.action_masks().all()


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_vector_masks_are_those_of_single_rows(make_env, make_vector_env, mode):
    native = make_vector_env(3, autoreset_mode=mode, mask_top_p=0.7)
    sync = SyncVectorEnv([lambda: make_env(mask_top_p=0.7)] * 3, autoreset_mode=native.autoreset_mode)
    native.reset(seed=2)
    sync.reset(seed=2)
    for actions in ACTIONS:
        np.testing.assert_array_equal(native.action_masks(), np.stack(sync.call("action_masks")))
        native.step(actions)
        sync.step(actions)


def test_masks_are_advice_and_reachable_through_wrappers(env_options, make_env):
    made = gym.make("Summarize-v0", **env_options(mask_top_k=1))
    env = RecordEpisodeStatistics(TimeLimit(made, 3))
    env.reset(seed=0)
    mask = env.get_wrapper_attr("action_masks")()
    assert mask.sum() == 1
    outside, plain = int(np.flatnonzero(~mask)[0]), make_env()
    plain.reset(seed=0)
    assert env.step(outside)[1] == plain.step(outside)[1], "masks change no reward"
    check_env(gym.make("Summarize-v0", **env_options(mask_top_k=1)).unwrapped)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_top_k": -1}, "mask_top_k must be an integer of at least 0"),
        ({"mask_top_k": 1.5}, "mask_top_k must be an integer"),
        ({"mask_top_p": 0}, r"mask_top_p must be in \(0, 1\], not 0"),
        ({"mask_top_p": "all"}, "mask_top_p must be in"),
        ({"mask_topk": 1}, 'Did you mean "mask_top_k"'),
    ],
)
def test_bad_options(make_env, changes, message):
    with pytest.raises(InputError, match=message):
        make_env(**changes)


class Masked:
    """Writes from a model restricted to the mask, by plain forwards of the unpadded text."""

    def __init__(self, model, env):
        self.model, self.env = model, env

    @torch.no_grad()
    def whole(self, observation):
        """log π of every token, without the mask."""
        ids = torch.from_numpy(observation["tokens"][observation["attention_mask"] == 1])
        return self.model(ids[None]).logits[0, -1, : self.env.vocab_size].double().log_softmax(-1)

    def log_prob(self, observation, action):
        allowed = torch.from_numpy(self.env.action_masks())
        return float(self.whole(observation).masked_fill(~allowed, -torch.inf).log_softmax(-1)[action])


@pytest.mark.parametrize("seed", [0, 8])
def test_a_masked_policy_pays_its_kl_to_the_whole_reference(seed):
    """Every response is written once: sums over them are expectations. Seed 0 is the reference's own model."""
    env = gym.make("Enumerable-v0", num_prompts=1, kl_coef=0.1, mask_top_k=2).unwrapped
    policy = Masked(tiny_language_model(3, context=4, seed=seed).model, env)
    reference = Masked(env.reference.model, env)
    env.attach_policy(policy)
    every, ref_log_probs = env.responses(), env.reference_log_probs()[0]
    total = paid = exact = restricted = left_out = 0.0
    for tokens, real, whole in zip(every.tokens, every.mask, ref_log_probs, strict=True):
        observation, _ = env.reset(options={"index": 0})
        log_prob, log_z, rewards, info = 0.0, 0.0, 0.0, None
        for token in tokens[real].tolist():
            allowed = env.action_masks()
            if not allowed[token]:
                break
            log_prob += policy.log_prob(observation, token)
            log_z += float(reference.whole(observation)[torch.from_numpy(allowed)].logsumexp(-1))
            observation, reward, ended, _, info = env.step(token)
            rewards += reward
        else:
            assert ended
            assert rewards == pytest.approx(info["score"] - 0.1 * info["kl"], abs=1e-5)
            probability = np.exp(log_prob)
            total += probability
            paid += probability * info["kl"]
            exact += probability * (log_prob - float(whole))
            restricted += probability * (log_prob - (float(whole) - log_z))
            left_out -= probability * log_z
    assert total == pytest.approx(1)
    assert paid == pytest.approx(exact, abs=1e-5)
    assert exact == pytest.approx(restricted + left_out)
    assert left_out > 0.05
    if seed == 0:
        assert restricted == pytest.approx(0, abs=1e-6), "the restricted reference itself"
    else:
        assert restricted > 0.1


def test_agents_that_keep_to_no_mask_say_so():
    for options in ({"mask_top_k": 2}, {"mask_top_p": 0.9}):
        for env in (gym.make("Enumerable-v0", **options), gym.make_vec("Enumerable-v0", 2, "sync", **options)):
            with pytest.raises(InputError, match="ignores action masks"):
                PPO("default", env)
    PPO("default", gym.make("Enumerable-v0", mask_top_k=0, mask_top_p=1.0))
