"""``check_agent``: whether an agent's gradient is the exact one, and if not, which fault explains it."""
