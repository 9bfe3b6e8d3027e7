"""prefgym.data"""
