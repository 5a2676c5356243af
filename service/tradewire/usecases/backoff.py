"""How long to wait before something is tried again."""

import random

LONGEST_S = 30.0


def backoff(attempt: int) -> float:
    """Seconds to wait after so many attempts: 1, 2, 4 … 30, less up to a half by chance."""
    return min(2.0 ** min(attempt - 1, 10), LONGEST_S) * random.uniform(0.5, 1.0)
