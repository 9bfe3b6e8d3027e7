"""prefgym.evaluation"""
