"""How good a policy is: decoding, judges, win rates, yardsticks, pictures and the report."""
