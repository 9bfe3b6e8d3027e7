"""Comparing policies: identical decoding, judges, win rates against texts that no policy wrote, best of n."""
