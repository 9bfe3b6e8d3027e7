"""PPO on a language model in one file of plain PyTorch, in the style of CleanRL: no agent of this package is used.

    python benchmarks/cleanrl_style_ppo.py --output benchmarks/cleanrl_style_ppo     about ten minutes
    python benchmarks/cleanrl_style_ppo.py --quick --output /tmp/cleanrl_style_ppo   an easy reward, half a minute

Used from the package: the registered environment and, from ``prefgym.models``, the cached next-token step and the
forward pass over a whole response. The environment queries the policy for log π itself, after ``attach_policy``. In
each iteration every row of a vector environment plays one episode, followed by epochs of clipped updates on whole
texts. Writes results.json and README.md. Notation: B rows, P prompt and R response columns, L = P + R, V tokens.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor, nn

import prefgym  # noqa: F401  (registers the environments)
from prefgym.models.distribution import log_distribution
from prefgym.models.forward import response_logits
from prefgym.models.stepper import Stepper


class Agent(nn.Module):
    """A language model and a value head on its trunk."""

    def __init__(self, env: Any) -> None:
        super().__init__()
        self.env = env
        language_model = env.language_model.copy()
        self.model, self.vocab_size = language_model.model, language_model.vocab_size
        self.value_head = nn.Linear(self.model.config.hidden_size, 1)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)
        self.stepper = Stepper(self.model)

    @torch.no_grad()
    def next_token(self, observation: dict[str, np.ndarray]) -> tuple[Tensor, Tensor]:
        """Log-probs (B, V) and values (B,) of observations that grow by one token per step; reads only what is new."""
        tokens, mask = (torch.from_numpy(observation[name]) for name in ("tokens", "attention_mask"))
        logits, hidden = self.stepper.next_logits(tokens, mask, with_hidden=True)
        return log_distribution(logits, self.vocab_size), self.value_head(hidden).squeeze(-1)

    def log_prob(self, observation: dict[str, np.ndarray], action: np.ndarray) -> Tensor:
        """Queried by the environment, to pay -beta log π."""
        return self.next_token(observation)[0].gather(-1, torch.from_numpy(action)[:, None]).squeeze(-1)

    def whole_responses(self, tokens: Tensor, mask: Tensor, num_response: int) -> tuple[Tensor, Tensor]:
        """Log-probs (B, R) and values (B, R) of given responses, with gradient."""
        logits, hidden = response_logits(self.model, tokens, mask, num_response, with_hidden=True)
        log_probs = log_distribution(logits, self.vocab_size)
        chosen = log_probs.gather(-1, tokens[:, -num_response:, None]).squeeze(-1)
        return chosen, self.value_head(hidden).squeeze(-1)


def rollout(env: Any, agent: Agent) -> dict[str, Any]:
    """One episode in every row. A row that has ended starts another, which is ignored."""
    columns, rows = env.max_new_tokens, np.arange(env.num_envs)
    prompt, _ = env.reset()
    observation, width = prompt, env.max_prompt_tokens
    actions = torch.zeros(env.num_envs, columns, dtype=torch.int64)
    log_probs, values, rewards = (torch.zeros(env.num_envs, columns) for _ in range(3))
    playing = torch.zeros(env.num_envs, columns, dtype=torch.bool)
    running, scores, kls = np.ones(env.num_envs, dtype=bool), np.zeros(env.num_envs), np.zeros(env.num_envs)
    for step in range(columns):
        log_dist, value = agent.next_token(observation)
        action = torch.multinomial(log_dist.exp(), 1).squeeze(-1)
        observation, reward, ended, _, infos = env.step(action.numpy())
        actions[:, step], values[:, step], playing[:, step] = action, value, torch.from_numpy(running)
        log_probs[:, step] = log_dist[rows, action]
        rewards[:, step] = torch.from_numpy(reward).float()
        over = running & ended
        if over.any():
            scores[over], kls[over] = infos["final_info"]["score"][over], infos["final_info"]["kl"][over]
        running &= ~ended
        if not running.any():
            break
    mask = torch.cat([torch.from_numpy(prompt["attention_mask"][:, :width]).bool(), playing], 1)
    tokens = torch.cat([torch.from_numpy(prompt["tokens"][:, :width]), actions.masked_fill(~playing, 0)], 1)
    return {
        "tokens": tokens,
        "mask": mask,
        "playing": playing,
        "log_probs": log_probs,
        "values": values * playing,
        "rewards": rewards * playing,
        "scores": scores,
        "kl": kls,
    }


def advantages(rewards: Tensor, values: Tensor, playing: Tensor, gae_lambda: float) -> tuple[Tensor, Tensor]:
    """GAE with discount 1 (Schulman et al. 2016, equation 16) and returns, (B, R); every episode ends here."""
    result, running, next_value = torch.zeros_like(rewards), torch.zeros(len(rewards)), torch.zeros(len(rewards))
    for step in reversed(range(rewards.shape[1])):
        running = (rewards[:, step] + next_value - values[:, step] + gae_lambda * running) * playing[:, step]
        next_value = values[:, step] * playing[:, step]
        result[:, step] = running
    returns = result + values
    chosen = result[playing]
    return (result - chosen.mean()) / (chosen.std() + 1e-8), returns


def update(agent: Agent, optimizer: torch.optim.Optimizer, batch: dict[str, Any], options: argparse.Namespace) -> None:
    """Epochs of minibatches of whole episodes."""
    playing = batch["playing"]
    advantage, returns = advantages(batch["rewards"], batch["values"], playing, options.gae_lambda)
    for _ in range(options.epochs):
        for rows in torch.randperm(len(playing)).split(options.minibatch):
            real = playing[rows]
            log_probs, values = agent.whole_responses(batch["tokens"][rows], batch["mask"][rows], real.shape[1])
            ratio = (log_probs - batch["log_probs"][rows])[real].exp()
            clipped = ratio.clamp(1 - options.clip, 1 + options.clip)
            policy_loss = -torch.min(ratio * advantage[rows][real], clipped * advantage[rows][real]).mean()
            value_loss = (values - returns[rows])[real].square().mean()
            optimizer.zero_grad()
            (policy_loss + options.vf_coef * value_loss).backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 1.0)
            optimizer.step()


def letters_e(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    """A reward that a few updates can raise."""
    return [float(completion.count("e")) for completion in completions]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--minibatch", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--kl-coef", type=float, default=0.1)
    parser.add_argument("--gae-lambda", type=float, default=0.95)
    parser.add_argument("--clip", type=float, default=0.2)
    parser.add_argument("--vf-coef", type=float, default=0.1)
    return parser.parse_args()


def main() -> None:
    """Train, print a line per iteration, and write the results."""
    options, extra = parse(), {}
    if options.quick:
        options.iterations, options.num_envs, options.minibatch, options.learning_rate = 6, 16, 8, 1e-3
        extra = {"reward": letters_e, "max_new_tokens": 8, "max_prompt_tokens": 64, "missing_eos_penalty": 0.0}
    torch.manual_seed(options.seed)
    made: Any = gym.make_vec(
        "Summarize-v0",
        options.num_envs,
        "vector_entry_point",
        autoreset_mode=AutoresetMode.SAME_STEP,
        kl_coef=options.kl_coef,
        **extra,
    )
    made.reset(seed=options.seed)
    agent = Agent(made)
    made.attach_policy(agent)
    optimizer = torch.optim.Adam(agent.parameters(), lr=options.learning_rate, eps=1e-5)
    history = []
    for iteration in range(options.iterations):
        began = time.perf_counter()
        batch = rollout(made, agent)
        optimizer.param_groups[0]["lr"] = options.learning_rate * (1 - iteration / options.iterations)
        update(agent, optimizer, batch, options)
        row = {
            "reward": float(batch["rewards"].sum(1).mean()),
            "score": float(batch["scores"].mean()),
            "kl": float(batch["kl"].mean()),
            "length": float(batch["playing"].sum(1).float().mean()),
            "seconds": time.perf_counter() - began,
        }
        history.append(row)
        print(f"{iteration + 1:3d}  " + "  ".join(f"{name} {value:7.3f}" for name, value in row.items()), flush=True)
    write(options, history)


def write(options: argparse.Namespace, history: list[dict[str, float]]) -> None:
    """results.json and README.md."""
    part = max(1, len(history) // 4)

    def mean(name: str, rows: list[dict[str, float]]) -> float:
        return float(np.mean([row[name] for row in rows]))

    first, last = ({name: mean(name, rows) for name in history[0]} for rows in (history[:part], history[-part:]))
    results = {
        "seed": options.seed,
        "episodes_each": options.num_envs,
        "first": first,
        "last": last,
        "history": history,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    table = "\n".join(f"| {name} | {first[name]:.3f} | {last[name]:.3f} |" for name in first)
    what = "the number of letters e as reward" if options.quick else "the embedded preference model as reward"
    (options.output / "README.md").write_text(
        "# PPO in one file, in CleanRL's style\n\n"
        "`python benchmarks/cleanrl_style_ppo.py --output benchmarks/cleanrl_style_ppo`\n\n"
        f"Summarize-v0, the embedded model (1.26 M parameters, synthetic posts), {what}, one seed "
        f"({options.seed}), {options.iterations} iterations of {options.num_envs} episodes; means over the first "
        f"and the last {part} iterations, on training prompts. Scores are the reward's own, not a judge's.\n\n"
        f"| per episode | first | last |\n| --- | --- | --- |\n{table}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
