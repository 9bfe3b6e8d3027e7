"""prefgym.envs"""
