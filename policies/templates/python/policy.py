"""{{name}}: where most of the prompt is cached, unless too much is running there."""

# Ids of wit/policy.wit.
DEVICE_OVERLAP = 5
RUNNING = 15

COLUMNS = [DEVICE_OVERLAP, RUNNING]


class Policy:
    """One pure function, with nothing of WebAssembly in it."""

    def __init__(self, running_cost: float = 8.0):
        if not running_cost >= 0:
            raise ValueError("running_cost: must be a number from 0")
        self.running_cost = running_cost

    def pick(self, seed: int, rows: int, columns: list[int]) -> int:
        """The row; columns are packed: columns[c * rows + row], c being the position in COLUMNS."""
        overlap, running = columns[:rows], columns[rows : 2 * rows]
        costs = [self.running_cost * busy - warm for warm, busy in zip(overlap, running)]
        least = min(costs)
        tied = [row for row, cost in enumerate(costs) if cost == least]
        # The seed is the only randomness.
        return tied[(seed >> 32) % len(tied)]
