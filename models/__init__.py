"""prefgym.models"""
