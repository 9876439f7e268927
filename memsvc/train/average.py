"""The mean of models trained on from one another, which may find more than each of them (arXiv:2203.05482)."""

from collections.abc import Sequence

import torch

from memsvc.backbone.titans_mac.model import TitansMac


def check(model: TitansMac, others: Sequence[TitansMac]) -> None:
    """Check that others have all parameters of a model, of the same shapes; they may have more.

    Raises:
        ValueError: one of them has not.
    """
    for other in others:
        theirs = {name: parameter.shape for name, parameter in other.named_parameters()}
        for name, parameter in model.named_parameters():
            if theirs.get(name) != parameter.shape:
                raise ValueError(f"a model has no {name} of the shape {tuple(parameter.shape)}")


@torch.no_grad()
def average(model: TitansMac, others: Sequence[TitansMac]) -> None:
    """Set each of a model's parameters to the mean of its own and the others', in place.

    Args:
        model: whose parameters the others have.
        others: one that is there twice counts twice.
    """
    for name, parameter in model.named_parameters():
        theirs = [other.get_parameter(name).to(parameter) for other in others]
        parameter.copy_(torch.stack([parameter, *theirs]).mean(0))
