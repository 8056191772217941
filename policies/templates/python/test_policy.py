import unittest

from policy import Policy

OVERLAP = [0, 0, 20, 0]


class PolicyTest(unittest.TestCase):
    def pick(self, running, seed=1 << 40):
        return Policy().pick(seed, 4, OVERLAP + running)

    def test_the_warmest_rank_wins(self):
        self.assertEqual(self.pick([0, 0, 0, 0]), 2)

    def test_unless_too_much_is_running_there(self):
        self.assertNotEqual(self.pick([0, 0, 3, 0]), 2)

    def test_equal_ranks_share(self):
        rows = {self.pick([0, 0, 3, 0], seed << 32) for seed in range(64)}
        self.assertEqual(rows, {0, 1, 3})

    def test_settings_that_make_no_sense_are_refused(self):
        with self.assertRaisesRegex(ValueError, "running_cost"):
            Policy(running_cost=-1)


if __name__ == "__main__":
    unittest.main()
