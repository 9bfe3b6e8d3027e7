"""prefgym.agents"""
