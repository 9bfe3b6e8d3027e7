import subprocess
import sys

import gymnasium as gym

import prefgym
from prefgym.envs import Enumerable, EnumerableVector


def test_importing_registers_by_name_and_loads_no_torch():
    code = """if True:
        import sys
        import gymnasium as gym
        assert "Enumerable-v0" not in gym.registry
        try:
            gym.make("prefgym:Enumerable-v9")
        except gym.error.VersionNotFound:
            print("torch" in sys.modules, "Summarize-v0" in gym.registry, "Enumerable-v0" in gym.registry)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", "True", "True"], done.stderr


def test_ids_make_what_they_say():
    assert isinstance(gym.make("prefgym:Enumerable-v0").unwrapped, Enumerable)
    assert isinstance(gym.make_vec("Enumerable-v0", num_envs=2, num_tokens=2), EnumerableVector)
    assert gym.spec("Instruct-v0").vector_entry_point == "prefgym.envs:InstructVector"
    assert gym.spec("Summarize-v0").vector_entry_point == "prefgym.envs:TokenVectorEnv"
    assert prefgym.__version__
