"""Facts and haystacks of a few tokens each, for tests."""

import random

from tokenizers import Tokenizer, models

from memsvc.train.source import Fact, Source, Tokens

HAY, KEYS, DIGITS = range(20), range(20, 40), range(40, 50)
IS, ASK, END = 50, 51, 52


class Toy(Source):
    """Keys and digits are tokens; tests draw odd keys, training even ones."""

    name = "toy"
    tokenizer = Tokenizer(models.WordLevel({str(i): i for i in range(53)}, unk_token="0"))

    def facts(self, rng: random.Random, count: int, family: str) -> list[Fact]:
        keys = rng.sample([key for key in KEYS if (key % 2 == 1) == (family != "training")], count)
        return [Fact((key, IS), (IS, *rng.choices(DIGITS, k=2)), (END,), (ASK, key, IS), (END,), 1) for key in keys]

    def haystack(self, rng: random.Random, count: int, *, test: bool) -> list[int]:
        return rng.choices(HAY, k=count)

    def distractor(self, rng: random.Random, *, test: bool) -> Tokens:
        return (rng.choice(KEYS), rng.choice(HAY))
