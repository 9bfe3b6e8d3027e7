"""Stock stable-baselines3 trains the language model: equal numbers from every buffer, the exact gradient, its verbs."""

import base64
import json
import warnings
import zipfile
from functools import partial

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.buffers import DictRolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecExtractDictObs, VecNormalize
from transformers import AutoModelForCausalLM, T5Config, T5ForConditionalGeneration

from prefgym.agents.sb3 import EpisodeRolloutBuffer, LMActorCriticPolicy, make_vec_env
from prefgym.agents.sb3.buffer import join_transitions
from prefgym.errors import InputError
from prefgym.models.language_model import LanguageModel
from prefgym.models.lora import AdaptedModel, LoRA

STILL = {"learning_rate": 0.0, "gamma": 1.0, "seed": 0}


class Watch(BaseCallback):
    """Keeps the infos of every step."""

    def __init__(self):
        super().__init__()
        self.infos = []

    def _on_step(self):
        self.infos += self.locals["infos"]
        return True


def last_infos(infos):
    return [info for info in infos if "score" in info]


def move(policy):
    """Seeded noise on all weights, so that neither values nor KL are zero."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def collected(buffer_class, num_envs=5, n_steps=8, algorithm=PPO, **options):
    """A moved policy and a rollout of it, in which the last steps cut some episodes; no update changes the weights."""
    env = make_vec_env("Enumerable-v0", num_envs)
    options = {**STILL, "n_steps": n_steps, "rollout_buffer_class": buffer_class, **options}
    if algorithm is PPO:
        options = {"batch_size": num_envs * n_steps, "n_epochs": 1, **options}
    model = algorithm(LMActorCriticPolicy, env, **options)
    move(model.policy)
    watch = Watch()
    model.learn(num_envs * n_steps, callback=watch)
    return model, watch


def plain_log_dist_and_value(policy, tokens, mask):
    """One plain forward of the unpadded text: the log-probs of the next token, and the value."""
    lm = policy.lm
    out = lm.model(tokens[mask.bool()][None], output_hidden_states=True)
    return (
        torch.log_softmax(out.logits[0, -1, : lm.vocab_size], -1),
        lm.value_head(out.hidden_states[-1][0, -1]),
    )


@pytest.mark.parametrize("buffer_class", [EpisodeRolloutBuffer, None], ids=["episodes", "shuffled"])
@pytest.mark.parametrize("batch_size", [9, 16, None])
def test_every_buffer_gives_the_numbers_of_plain_forwards(buffer_class, batch_size):
    model, _ = collected(buffer_class)
    seen = 0
    with torch.no_grad():
        for batch in model.rollout_buffer.get(batch_size):
            obs, actions = batch.observations, batch.actions.long().flatten()
            values, log_probs, entropies = model.policy.evaluate_actions(obs, actions)
            assert values.shape == (len(actions), 1)
            torch.testing.assert_close(log_probs, batch.old_log_prob, atol=1e-5, rtol=0)
            torch.testing.assert_close(values.flatten(), batch.old_values, atol=1e-5, rtol=0)
            for row in range(len(actions)):
                log_dist, value = plain_log_dist_and_value(
                    model.policy, obs["tokens"][row].long(), obs["attention_mask"][row]
                )
                assert log_probs[row].item() == pytest.approx(log_dist[actions[row]].item(), abs=1e-5)
                assert values[row].item() == pytest.approx(value.item(), abs=1e-5)
                assert entropies[row].item() == pytest.approx(-(log_dist.exp() @ log_dist).item(), abs=1e-5)
            seen += len(actions)
    assert seen == 40


def test_gradients_do_not_depend_on_the_buffer():
    gradients = []
    for buffer_class in (EpisodeRolloutBuffer, DictRolloutBuffer):
        model, _ = collected(buffer_class, algorithm=A2C, max_grad_norm=float("inf"), ent_coef=0.1)
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.policy.parameters()]))
    assert gradients[0].norm() > 0.01
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-4)


def test_a_minibatch_is_whole_episodes_and_reads_each_once():
    model, _ = collected(EpisodeRolloutBuffer, num_envs=6, n_steps=10)
    buffer = model.rollout_buffer
    starts = buffer.episode_starts.astype(bool)
    starts[0] = True
    number = np.cumsum(starts.T.ravel())  # which episode each transition is of
    buffer.advantages = np.arange(60.0, dtype=np.float32)[:, None]  # marks the transitions
    assert 10 < number[-1] < 60
    everything, sizes = [], []
    for batch in buffer.get(16):
        marks = batch.advantages.long().numpy()
        for episode in set(number[marks]):
            assert set(np.flatnonzero(number == episode)) <= set(marks), "an episode was divided"
        actions = batch.actions.long().flatten()
        texts = join_transitions(**batch.observations, actions=actions, max_prompt_tokens=2)
        assert len(texts.tokens) <= len(set(number[marks]))
        everything += marks.tolist()
        sizes.append(len(marks))
    assert sorted(everything) == list(range(60)), "every transition once"
    assert len(sizes) == 4
    assert all(13 <= size <= 19 for size in sizes)
    assert [len(batch.advantages) for batch in buffer.get()] == [60]
    first, second = (next(iter(buffer.get(16))).advantages.tolist() for _ in range(2))
    assert first != second, "the order is drawn anew"


def test_transitions_are_joined_by_hand():
    """Prompt "5 5" (id 0 also stands as padding): episodes 1 2, 1 3 and 4; another prompt "5": 1. Shuffled."""
    read = [[5, 5, 1], [5, 5], [0, 5], [5, 5, 1], [5, 5], [5, 5]]
    mask = [[1, 1, 1, 0], [1, 1, 0, 0], [0, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 0, 0]]
    tokens = torch.tensor([row + [0] * (4 - len(row)) for row in read])
    actions = torch.tensor([2, 1, 1, 3, 4, 1])
    texts = join_transitions(tokens, torch.tensor(mask), actions, max_prompt_tokens=2)
    found = [texts.tokens[row][texts.mask[row]].tolist() for row in range(len(texts.tokens))]
    assert sorted(found) == [[5, 1], [5, 5, 1, 2], [5, 5, 1, 3], [5, 5, 4]]
    assert texts.num_response == 2
    assert texts.column.tolist() == [1, 0, 0, 1, 0, 0]
    of = [found[row] for row in texts.text.tolist()]
    assert of[0] == [5, 5, 1, 2]
    assert of[2:5] == [[5, 1], [5, 5, 1, 3], [5, 5, 4]]
    assert of[1] == of[5]
    assert of[1][:3] == [5, 5, 1]
    alike = texts.prompt_of
    groups = {tuple(text[:2]): alike[row].item() for row, text in enumerate(found) if len(text) > 2}
    assert len(set(groups.values())) == 1
    assert alike[found.index([5, 1])] not in groups.values()


def test_values_are_bootstrapped_where_the_rollout_cuts_an_episode_and_nowhere_else():
    model, _ = collected(EpisodeRolloutBuffer, num_envs=8, n_steps=5, gae_lambda=0.6)
    buffer, after, ended = model.rollout_buffer, model._last_obs, model._last_episode_starts
    values, rewards = buffer.values.reshape(8, 5), buffer.rewards.T  # values are laid out row after row
    starts, advantages = buffer.episode_starts.T, buffer.advantages.reshape(8, 5)
    assert 0 < ended.sum() < 8
    with torch.no_grad():
        for row in range(8):
            tokens, mask = (torch.as_tensor(after[name][row]) for name in ("tokens", "attention_mask"))
            cut_value = plain_log_dist_and_value(model.policy, tokens, mask)[1].item()
            expected = 0.0
            for step in reversed(range(5)):
                over = ended[row] if step == 4 else starts[row, step + 1]
                value_after = 0.0 if over else cut_value if step == 4 else values[row, step + 1]
                delta = rewards[row, step] + value_after - values[row, step]
                expected = delta + (0.0 if over else 0.6 * expected)
                assert advantages[row, step] == pytest.approx(expected, abs=1e-5)


def test_the_first_rollout_is_the_embedded_model_and_pays_no_kl():
    env = make_vec_env("Summarize-v0", 2, max_new_tokens=6)
    model = PPO(LMActorCriticPolicy, env, n_steps=12, batch_size=24, n_epochs=1, **STILL)
    assert model.policy.lm.language_model.checksum() == LanguageModel.load("embedded").checksum()
    watch = Watch()
    model.learn(24, callback=watch)
    ended = last_infos(watch.infos)
    assert len(ended) >= 4
    assert all(abs(info["kl"]) < 1e-4 and abs(info["kl_k1"]) < 1e-4 for info in ended)
    model.policy.optimizer.step()  # what trains is not what the environment holds
    move(model.policy)
    assert env.get_attr("language_model")[0].checksum() == LanguageModel.load("embedded").checksum()


@pytest.mark.parametrize("estimator", ["k1", "k3", "exact"])
def test_rewards_hold_the_policys_part(estimator):
    env = make_vec_env("Enumerable-v0", 5, kl_estimator=estimator)
    model = PPO(LMActorCriticPolicy, env, n_steps=8, batch_size=40, n_epochs=1, **STILL)
    move(model.policy)
    watch = Watch()
    model.learn(40, callback=watch)
    ended = last_infos(watch.infos)
    assert np.std([info["kl"] for info in ended]) > 1e-3
    for info in ended:
        assert info["episode"]["r"] == pytest.approx(info["score"] - 0.5 * info["kl"], abs=1e-5)


def test_a_rollout_reads_one_token_a_step_and_all_anew_after_an_update():
    env = make_vec_env("Enumerable-v0", 2, num_tokens=2, max_new_tokens=8)
    policy = PPO(LMActorCriticPolicy, env, n_steps=8, batch_size=16, **STILL).policy
    widths, values = [], []
    policy.lm.model.register_forward_pre_hook(
        lambda _, args, kwargs: widths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )

    def ask(obs):
        with torch.no_grad():
            values.append(policy({name: torch.as_tensor(array) for name, array in obs.items()})[1])

    obs = env.reset()
    ask(obs)
    del widths[:]
    for _ in range(4):
        obs = env.step(np.array([0, 1]))[0]
        ask(obs)
    assert widths == [1] * 4
    ask(obs)
    assert widths == [1] * 4, "the same question costs nothing"
    move(policy)
    ask(obs)
    assert max(widths[4:]) > 1
    policy.lm._stepper.reset()
    ask(obs)
    torch.testing.assert_close(values[-1], values[-2])
    assert not torch.allclose(values[-1], values[-3])


def test_mean_gradient_is_the_exact_gradient():
    env = make_vec_env("Enumerable-v0", 256, kl_coef=0.1)
    model = A2C(
        LMActorCriticPolicy,
        env,
        n_steps=32,
        rollout_buffer_class=EpisodeRolloutBuffer,
        gae_lambda=1.0,
        vf_coef=0.0,
        ent_coef=0.0,
        normalize_advantage=False,
        max_grad_norm=float("inf"),
        **STILL,
    )
    move(model.policy.lm.model)  # the values stay 0
    exact = env.unwrapped.env.exact_gradient(model.policy.lm)
    model.learn(256 * 32)
    parameters = dict(model.policy.lm.named_parameters())
    ascent = -torch.cat([parameters[name].grad.flatten() for name in exact])
    flat = torch.cat([gradient.flatten() for gradient in exact.values()])
    assert torch.cosine_similarity(ascent, flat, dim=0) > 0.995
    # A2C divides by transitions where the exact gradient divides by episodes: the lengths differ by the mean length.
    length = model.rollout_buffer.episode_starts.size / model.rollout_buffer.episode_starts.sum()
    assert (ascent @ flat / flat.square().sum()).item() * length == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_learning_nears_the_optimum(algorithm):
    env = make_vec_env("Enumerable-v0", 64, kl_coef=0.1)
    more = {"batch_size": 256, "n_epochs": 3, "n_steps": 8} if algorithm is PPO else {"n_steps": 8}
    model = algorithm(
        LMActorCriticPolicy,
        env,
        rollout_buffer_class=EpisodeRolloutBuffer,
        gamma=1.0,
        seed=0,
        learning_rate=1e-2,
        **more,
    )
    world = env.unwrapped.env
    start, optimum = float(world.objective(model.policy.lm).detach()), world.optimal_objective()
    model.learn(64 * 8 * 8)
    reached = float(world.objective(model.policy.lm).detach())
    assert start < 0.5 * optimum
    assert reached > 0.97 * optimum


def test_other_agents_of_stable_baselines3_learn():
    """A plain perceptron, which declares no log-prob; its own entropy bonus stands for that part of the KL."""
    env = make_vec_env("Enumerable-v0", 32, kl_coef=0.1)
    model = PPO(
        "MultiInputPolicy", env, n_steps=16, batch_size=128, gamma=1.0, ent_coef=0.1, seed=0, learning_rate=3e-3
    )
    before = evaluate_policy(model, env, 128, deterministic=False)[0]
    model.learn(32 * 16 * 4)
    after = evaluate_policy(model, env, 128, deterministic=False)[0]
    assert after > before + 0.4


def test_save_and_load(tmp_path):
    options = {"prompts": [{"prompt": "a b", "table_row": 0}, {"prompt": "b", "table_row": 1}], "kl_coef": 0.1}
    env = make_vec_env("Enumerable-v0", 4, **options)
    model = PPO(LMActorCriticPolicy, env, n_steps=8, batch_size=16, gamma=1.0, seed=0)
    model.learn(32)
    model.save(tmp_path / "agent")
    with zipfile.ZipFile(tmp_path / "agent.zip") as saved:
        data = json.loads(saved.read("data"))
    pickles = [
        base64.b64decode(part[":serialized:"])
        for part in data.values()
        if isinstance(part, dict) and ":serialized:" in part
    ]
    assert pickles
    assert not any(word in part for part in pickles for word in (b"VecEnv", b"TokenMDP", b"table_row", b"Stepper"))
    assert sum(map(len, pickles)) < 60_000, "no weights beside those of the policy"

    obs = env.reset()
    alone = PPO.load(tmp_path / "agent")
    for other in (alone, PPO.load(tmp_path / "agent", make_vec_env("Enumerable-v0", 4, **options))):
        for name, parameter in model.policy.named_parameters():
            torch.testing.assert_close(other.policy.state_dict()[name], parameter.detach())
        assert (other.predict(obs, deterministic=True)[0] == model.predict(obs, deterministic=True)[0]).all()
    watch = Watch()
    other.learn(32, callback=watch)  # its environment pays the KL of the loaded policy
    for info in last_infos(watch.infos):
        assert info["kl"] == pytest.approx(info["kl_k1"])
        assert info["episode"]["r"] == pytest.approx(info["score"] - 0.1 * info["kl"], abs=1e-5)
        assert "log_prob" in info


def test_a_policy_saved_by_itself(tmp_path):
    model, _ = collected(EpisodeRolloutBuffer)
    model.policy.save(tmp_path / "policy.pt")
    policy = LMActorCriticPolicy.load(tmp_path / "policy.pt")
    obs = model.policy.obs_to_tensor(make_vec_env("Enumerable-v0", 5).reset())[0]
    torch.testing.assert_close(
        policy.get_distribution(obs).distribution.logits, model.policy.get_distribution(obs).distribution.logits
    )


def test_the_language_model_is_written_as_a_plain_folder(tmp_path):
    model, _ = collected(EpisodeRolloutBuffer)
    model.policy.save_pretrained(tmp_path / "lm")
    read = AutoModelForCausalLM.from_pretrained(tmp_path / "lm")
    for name, parameter in model.policy.lm.language_model.model.named_parameters():
        torch.testing.assert_close(read.state_dict()[name], parameter.detach())


def test_callbacks_logger_and_progress_bar(tmp_path):
    env, other = make_vec_env("Enumerable-v0", 4), make_vec_env("Enumerable-v0", 2)
    model = PPO(LMActorCriticPolicy, env, n_steps=8, batch_size=16, gamma=1.0, seed=0, tensorboard_log=str(tmp_path))
    callback = EvalCallback(other, eval_freq=4, n_eval_episodes=4, best_model_save_path=str(tmp_path), verbose=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*rich is experimental.*")
        model.learn(64, callback=callback, progress_bar=True)
    assert np.isfinite(callback.last_mean_reward)
    assert (tmp_path / "best_model.zip").is_file()
    assert np.isfinite([episode["r"] for episode in model.ep_info_buffer]).all()
    assert len(model.ep_info_buffer) > 10
    assert list(tmp_path.glob("PPO_1/events*"))


def test_an_environment_of_its_own_pays_the_kl_of_the_policy_that_plays_in_it():
    model, _ = collected(EpisodeRolloutBuffer)
    other = make_vec_env("Enumerable-v0", 2)
    infos = {True: [], False: []}
    for deterministic, found in infos.items():
        callback = partial(lambda found, local, _: found.append(local["info"]), found)
        evaluate_policy(model, other, 6, deterministic=deterministic, callback=callback)
    assert all("log_prob" in info for info in infos[False])
    assert not any("log_prob" in info for info in infos[True]), "a deterministic policy has log π = 0"
    kept = collected(EpisodeRolloutBuffer)[0]
    kept.predict(other.reset())  # leaves a choice about another observation
    _, _, _, infos = model.env.step(np.zeros(5, int))
    assert all("log_prob" not in info for info in infos)


def test_changing_the_environment_of_a_model():
    model, _ = collected(EpisodeRolloutBuffer)
    model.set_env(make_vec_env("Enumerable-v0", 5))
    watch = Watch()
    model.learn(40, callback=watch)
    assert all("log_prob" in info for info in watch.infos)


def test_reward_wrappers_of_stable_baselines3():
    env = VecNormalize(make_vec_env("Enumerable-v0", 4), norm_obs=False, gamma=1.0)
    PPO(LMActorCriticPolicy, env, n_steps=8, batch_size=16, rollout_buffer_class=EpisodeRolloutBuffer).learn(32)
    for spoil in (VecNormalize, lambda env: VecExtractDictObs(env, "tokens")):
        model = PPO(LMActorCriticPolicy, spoil(make_vec_env("Enumerable-v0", 4)), n_steps=8, batch_size=16)
        with pytest.raises(InputError, match="norm_obs=False"):
            model.learn(32)


@pytest.fixture
def folder_options(tmp_path):
    """Arguments of ``Summarize-v0`` on a model that an adapter can find again by its folder."""
    core = make_vec_env("Enumerable-v0").unwrapped.env
    core.language_model.save(tmp_path / "base")
    prompts = [f"{first} {second}" for first in "abc" for second in "abc"]
    shape = {"template": "{prompt}", "max_prompt_tokens": 2, "max_new_tokens": 3, "kl_coef": 0.1}
    return {"model": str(tmp_path / "base"), "reward": "length", "prompts": prompts, **shape}


def test_an_adapter_alone_is_trained_saved_and_loaded(folder_options, tmp_path):
    pytest.importorskip("peft", reason="the extra peft is not installed")
    env = make_vec_env("Summarize-v0", 4, **folder_options)
    options = {"n_steps": 8, "batch_size": 16, "gamma": 1.0, "seed": 0, "learning_rate": 1e-2}
    model = PPO(LMActorCriticPolicy, env, policy_kwargs={"lora_rank": 2}, **options)
    core = env.unwrapped.env
    frozen = {name: p.detach().clone() for name, p in model.policy.named_parameters() if not p.requires_grad}
    trained = {name: p.detach().clone() for name, p in model.policy.named_parameters() if p.requires_grad}
    assert all("lora_" in name or "value_head" in name for name in trained)
    checksums = core.language_model.checksum(), core.reference.checksum()
    watch = Watch()
    model.learn(32, callback=watch)
    ended = last_infos(watch.infos)
    assert ended
    assert all(abs(info["kl"]) < 1e-5 for info in ended), "the adapter changes nothing yet"
    after = dict(model.policy.named_parameters())
    assert all(torch.equal(after[name], weights) for name, weights in frozen.items())
    assert not any(torch.equal(after[name], weights) for name, weights in trained.items())
    assert (core.language_model.checksum(), core.reference.checksum()) == checksums

    model.save(tmp_path / "agent")
    other = PPO.load(tmp_path / "agent", make_vec_env("Summarize-v0", 4, **folder_options))
    for name, parameter in other.policy.named_parameters():
        assert torch.equal(parameter, after[name])
        assert parameter.requires_grad == after[name].requires_grad
    watch = Watch()
    other.learn(32, callback=watch)
    assert any(abs(info["kl"]) > 1e-4 for info in last_infos(watch.infos)), "the loaded adapter is not at its start"

    model.policy.save_pretrained(tmp_path / "adapter")
    assert {file.name for file in (tmp_path / "adapter").glob("*.safetensors")} == {"adapter_model.safetensors"}
    merged = LanguageModel.load(tmp_path / "adapter").model
    tokens = torch.randint(0, 3, (3, 5), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(merged(tokens).logits, model.policy.lm.model(tokens).logits, rtol=0, atol=1e-4)


def test_a_model_that_has_an_adapter_is_refused_in_one_sentence():
    pytest.importorskip("peft", reason="the extra peft is not installed")
    core = make_vec_env("Enumerable-v0").unwrapped.env
    adapted = AdaptedModel.start(core.language_model, LoRA(2))
    with pytest.raises(InputError, match=r"has an adapter; give the environment model\.merged\(\)"):
        make_vec_env("Enumerable-v0", model=adapted)
    with pytest.raises(InputError, match="lora_rank must be a positive whole number"):
        PPO(LMActorCriticPolicy, make_vec_env("Enumerable-v0"), n_steps=8, policy_kwargs={"lora_rank": 0})


@pytest.mark.parametrize("buffer_class", [EpisodeRolloutBuffer, None], ids=["episodes", "shuffled"])
def test_an_encoder_decoder_is_trained_too(buffer_class, folder_options, tmp_path):
    tokenizer = make_vec_env("Enumerable-v0").unwrapped.env.language_model.tokenizer
    torch.manual_seed(0)
    shape = {"d_model": 16, "d_ff": 16, "d_kv": 8, "num_layers": 1, "num_heads": 2, "vocab_size": len(tokenizer) + 3}
    ends = dict.fromkeys(("pad_token_id", "eos_token_id", "decoder_start_token_id"), tokenizer.eos_token_id)
    LanguageModel(T5ForConditionalGeneration(T5Config(**shape, **ends)), tokenizer).save(tmp_path / "t5")
    env = make_vec_env("Summarize-v0", 4, **folder_options | {"model": str(tmp_path / "t5")})
    model = PPO(
        LMActorCriticPolicy, env, n_steps=8, batch_size=32, n_epochs=1, rollout_buffer_class=buffer_class, **STILL
    )
    watch = Watch()
    model.learn(32, callback=watch)
    ended = last_infos(watch.infos)
    assert ended
    assert all(abs(info["kl"]) < 1e-5 for info in ended)
    move(model.policy)
    model.learn(32, callback=watch)
    with torch.no_grad():
        for batch in model.rollout_buffer.get(32):
            values, log_probs, _ = model.policy.evaluate_actions(batch.observations, batch.actions.long().flatten())
            torch.testing.assert_close(log_probs, batch.old_log_prob, atol=1e-5, rtol=0)
            torch.testing.assert_close(values.flatten(), batch.old_values, atol=1e-5, rtol=0)
    model.save(tmp_path / "agent")
    obs = env.reset()
    loaded = PPO.load(tmp_path / "agent")
    assert (loaded.predict(obs, deterministic=True)[0] == model.predict(obs, deterministic=True)[0]).all()
