"""What the clients of the test say."""
import random

WORDS = "river stone lamp orbit copper meadow signal harbour violet ladder thunder paper engine window salt".split()


class Conversations:
    """Chats of several turns over a few system prompts.

    A conversation whose prompt has reached `tokens_max` tokens is over; vLLM takes 1024 tokens in all. As they are by
    default they need more than the ranks' caches hold, so that blocks are evicted all the time.
    """

    def __init__(self, seed, systems=6, words=(80, 260), tokens_max=800):
        # The same systems for every seed: later steps meet what earlier ones left in the caches.
        common = random.Random(1)
        self.systems = [self.text(common, common.randint(*words)) for _ in range(systems)]
        self.tokens_max = tokens_max
        self.random = random.Random(seed)
        self.open = [None] * 4

    @classmethod
    def small(cls, seed):
        """All that is shared, and some chats at once, fit into each rank's cache."""
        return cls(seed, systems=3, words=(60, 100), tokens_max=0)

    @staticmethod
    def text(source, words):
        return " ".join(source.choice(WORDS) + source.choice(["", "", ",", f" {source.randint(0, 999)}"])
                        for _ in range(words))

    def turn(self):
        """A place among the open conversations, and the messages to send."""
        at = self.random.randrange(len(self.open))
        if self.open[at] is None:
            self.open[at] = [{"role": "system", "content": self.random.choice(self.systems)}]
        self.open[at].append({"role": "user", "content": self.text(self.random, self.random.randint(3, 60))})
        return at, self.open[at]

    def answered(self, at, reply):
        if (reply.usage or {}).get("prompt_tokens", self.tokens_max) >= self.tokens_max:
            self.open[at] = None
        else:
            self.open[at].append({"role": "assistant", "content": reply.text})
