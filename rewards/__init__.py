"""prefgym.rewards"""
