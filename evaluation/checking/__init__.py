"""``check_agent``: whether an agent's gradient is the exact one, and which fault explains it where it is not."""
