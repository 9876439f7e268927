from collections import Counter

import pytest
import torch

from memsvc.backbone.sample import Sampler

LOGITS = torch.log(torch.tensor([0.1, 0.4, 0.2, 0.3]))


def draw(temperature: float, top_p: float, count: int = 4000) -> dict[int, float]:
    """How often each token is drawn."""
    sample = Sampler(temperature, top_p, seed=0)
    return {token: n / count for token, n in Counter(sample(LOGITS) for _ in range(count)).items()}


@pytest.mark.parametrize(
    ("temperature", "top_p", "shares"),
    [
        (1.0, 1.0, {0: 0.1, 1: 0.4, 2: 0.2, 3: 0.3}),
        (0.5, 1.0, {0: 1 / 30, 1: 16 / 30, 2: 4 / 30, 3: 9 / 30}),
        (1.0, 0.65, {1: 4 / 7, 3: 3 / 7}),
        (1.0, 0.75, {1: 4 / 9, 2: 2 / 9, 3: 3 / 9}),
        (1.0, 0.0, {1: 1.0}),
        (0.0, 1.0, {1: 1.0}),
        (5e-324, 1.0, {1: 1.0}),
        (1e300, 1.0, {0: 0.25, 1: 0.25, 2: 0.25, 3: 0.25}),
    ],
)
def test_shares(temperature, top_p, shares) -> None:
    drawn = draw(temperature, top_p)
    assert drawn.keys() == shares.keys()
    assert drawn == pytest.approx(shares, abs=0.03)


def test_draws_are_those_of_the_seed_alone() -> None:
    def drawn(seed: int | None) -> list[int]:
        sample = Sampler(1.0, 1.0, seed)
        torch.rand(3)
        return [sample(LOGITS) for _ in range(40)]

    state = torch.get_rng_state()
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    assert drawn(None) != drawn(None)
    torch.set_rng_state(state)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_model_that_gives_no_numbers(temperature, bad) -> None:
    with pytest.raises(ValueError, match="finite"):
        Sampler(temperature, 1.0, 0)(torch.full((4,), bad))
