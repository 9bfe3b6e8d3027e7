"""Comparing policies: decoding them alike, judges, win rates against texts that no policy wrote, best of n."""
