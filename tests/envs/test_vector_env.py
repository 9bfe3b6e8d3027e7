import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import batch_space

from prefgym.envs import EnumerableVector, PolicyKL
from prefgym.errors import InputError

EOS = 5
ACTIONS = np.random.default_rng(0).choice(6, size=(16, 3), p=[0.1, 0.15, 0.15, 0.15, 0.15, 0.3])


def assert_same(ours, theirs):
    """Equal to rounding, through nested dicts of arrays, object arrays included."""
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert_same(ours[name], theirs[name])
    elif isinstance(ours, tuple) or (isinstance(ours, np.ndarray) and ours.dtype == object):
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    elif isinstance(ours, np.ndarray):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    else:
        assert ours == theirs


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("kl_estimator", ["k1", "exact"])
def test_native_equals_gymnasiums_own_vector_env(make_env, make_vector_env, mode, kl_estimator):
    """Rows are reset at different times and share one cache; everything returned is the same, step by step."""
    native = make_vector_env(3, autoreset_mode=mode, kl_estimator=kl_estimator)
    sync = SyncVectorEnv([lambda: make_env(kl_estimator=kl_estimator)] * 3, autoreset_mode=mode)
    assert native.observation_space == sync.observation_space
    assert native.action_space == sync.action_space
    assert_same(native.reset(seed=4), sync.reset(seed=4))
    staggered = False
    for actions in ACTIONS:
        ours, theirs = native.step(actions), sync.step(actions)
        assert_same(ours, theirs)
        assert ours[0]["tokens"] in native.observation_space["tokens"]
        staggered |= 0 < ours[2].sum() < 3
        if mode is AutoresetMode.DISABLED and ours[2].any():
            mask = ours[2].copy()
            assert_same(native.reset(options={"reset_mask": mask}), sync.reset(options={"reset_mask": mask.copy()}))
    assert staggered


def test_rows_are_seeded_as_single_environments(make_env, make_vector_env):
    observations, _ = make_vector_env(3).reset(seed=10)
    listed, _ = make_vector_env(3).reset(seed=[10, 11, 12])
    for row in range(3):
        single, _ = make_env().reset(seed=10 + row)
        assert (single["tokens"] == observations["tokens"][row]).all()
        assert (single["tokens"] == listed["tokens"][row]).all()
    env = make_vector_env(2)
    env.reset(seed=3)
    assert env.np_random_seed == (3, 4)
    assert len(env.np_random) == 2


def test_all_rows_share_one_reference_forward_a_step(make_vector_env):
    env = make_vector_env(3, max_new_tokens=20)
    env.reset(seed=0)
    calls = []
    env.reference.model.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    for _ in range(4):
        env.step(np.array([0, 1, 2]))
    assert calls[-3:] == [(3, 1)] * 3, "one token a row, all rows at once"


def test_scores_of_a_step_come_from_one_call(make_vector_env):
    batches = []

    def reward(prompts, completions):
        batches.append(len(prompts))
        return [0.0] * len(prompts)

    env = make_vector_env(3, reward=reward)
    env.reset(seed=0)
    env.step(np.array([EOS, 0, EOS]))
    assert batches == [2]


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SameStep", AutoresetMode.DISABLED])
def test_metadata_says_the_mode_of_this_instance(make_vector_env, mode):
    env, other = make_vector_env(2, autoreset_mode=mode), make_vector_env(2)
    assert isinstance(env.metadata["autoreset_mode"], AutoresetMode)
    assert other.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert env.observation_space == batch_space(env.single_observation_space, 2)


def test_disabled_needs_a_reset(make_vector_env):
    env = make_vector_env(2, autoreset_mode="Disabled")
    with pytest.raises(ResetNeeded):
        env.step(np.array([0, 0]))
    env.reset(seed=0, options={"reset_mask": np.array([True, False])})
    with pytest.raises(ResetNeeded):
        env.step(np.array([0, 0]))
    env.reset(seed=0)
    env.step(np.array([EOS, 0]))
    with pytest.raises(ResetNeeded):
        env.step(np.array([0, 0]))


@pytest.mark.parametrize(
    "mask", [np.array([1, 0]), np.array([False, False]), np.array([True]), np.array([True, False, True])]
)
def test_bad_reset_masks(make_vector_env, mask):
    with pytest.raises(InputError, match="reset_mask must be a boolean array of shape"):
        make_vector_env(2, autoreset_mode="Disabled").reset(options={"reset_mask": mask})


def test_bad_arguments(make_vector_env):
    with pytest.raises(InputError, match=r'"SameSte".*Did you mean "SameStep"'):
        make_vector_env(2, autoreset_mode="SameSte")
    with pytest.raises(InputError, match="num_envs must be an integer of at least 1"):
        make_vector_env(0)
    env = make_vector_env(2)
    with pytest.raises(InputError, match="one seed per row"):
        env.reset(seed=[1])
    with pytest.raises(InputError, match="no option"):
        env.reset(options={"indx": 1})
    env.reset(seed=0)
    with pytest.raises(InputError, match=r"shape \(2,\), not \(3,\)"):
        env.step(np.array([0, 0, 0]))
    with pytest.raises(InvalidAction):
        env.step(np.array([0, 6]))


def test_options_hold_for_all_rows_and_are_left_as_they_were(make_vector_env):
    env = make_vector_env(2)
    options = {"index": 3}
    observations, _ = env.reset(options=options)
    assert options == {"index": 3}
    assert (observations["tokens"][0] == observations["tokens"][1]).all()


def test_rendering(make_vector_env, capsys):
    env = make_vector_env(2, render_mode="ansi")
    env.reset(seed=0)
    env.step(np.array([0, 1]))
    texts = env.render()
    assert len(texts) == 2
    assert "'b'" in texts[1]
    shown = make_vector_env(2, render_mode="human")
    shown.reset(seed=0)
    shown.step(np.array([0, 1]))
    assert capsys.readouterr().out.count("log π_ref") == 4
    assert make_vector_env(2).render() is None


def test_fast_path_draws_from_each_rows_order(make_env, make_vector_env):
    vector = make_vector_env(2)
    vector.reset(seed=6)
    singles = [make_env(), make_env()]
    for row, single in enumerate(singles):
        single.reset(seed=6 + row)
    drawn = vector.sample_prompt_indices(6)
    assert drawn[::2] == singles[0].sample_prompt_indices(3)
    assert drawn[1::2] == singles[1].sample_prompt_indices(3)


class Uniform:
    def log_prob(self, observation, action):
        return np.full(np.shape(action), -np.log(4))


@pytest.mark.filterwarnings("ignore:.*(Received the following|Traceback|Raising the last).*:UserWarning")
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_make_vec_gives_the_same_episodes_in_every_mode(mode):
    other = gym.make_vec("Enumerable-v0", num_envs=2, vectorization_mode=mode)
    native = gym.make_vec("Enumerable-v0", num_envs=2)
    try:
        assert isinstance(native, EnumerableVector)
        assert native.metadata["autoreset_mode"] is other.metadata["autoreset_mode"]
        ours, theirs = native, other
        for _ in range(2):  # bare, then with a policy
            assert_same(ours.reset(seed=1), theirs.reset(seed=1))
            for actions in np.random.default_rng(3).choice(4, size=(8, 2)):
                assert_same(ours.step(actions), theirs.step(actions))
            ours, theirs = PolicyKL(ours, Uniform()), PolicyKL(theirs, Uniform())
        if mode == "async":
            with pytest.raises(InputError, match="PolicyKL"):
                other.call("attach_policy", object())
    finally:
        other.close()
        native.close()
