"""What a pass of the context memory has to equal: NUMERICS.md token by token, with gradients by autograd.

Derived apart from the model's own way: gradients are full matrices, Δ and S go through the recurrence of One token, and
the second-order step takes the inverse of what was written, as it is defined. One row; differentiable, so that
training's gradients can be compared too.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize, silu

from memsvc.backbone.titans_mac.memory import ContextMemory


class Passed(NamedTuple):
    """What a stream came to."""

    readouts: Tensor
    """[T, value]."""
    delta: list[Tensor]
    momentum: list[Tensor]
    inverse: Tensor
    """[hidden, hidden]."""


def passed(memory: ContextMemory, x: Tensor, embeddings: Tensor) -> Passed:
    """Return what x and embeddings [T, d] come to from an empty state."""
    config = memory.config
    initial = [*memory.initial, torch.zeros(config.value, config.hidden, dtype=x.dtype, requires_grad=True)]
    delta, momentum = ([torch.zeros_like(w) for w in initial] for _ in range(2))
    inverse = torch.eye(config.hidden, dtype=x.dtype)
    queries, values, rates = _projected(memory, x), normalize(memory.value(embeddings), dim=-1), memory.rates(x)
    keys = torch.cat([torch.zeros_like(queries[:1]), queries[:-1]])
    readouts = []
    for start in range(0, len(x), memory.chunk):
        tokens = range(start, start + memory.chunk)
        weights = [w + d for w, d in zip(initial, delta, strict=True)]
        readouts += [_mlp(weights, queries[t])[0] for t in tokens]
        slopes, steps, inputs, errors, logits = [], [], [], [], []
        for t in tokens:
            output, a = _mlp(weights, keys[t])
            error = output - values[t]
            slope = torch.autograd.grad(0.5 * error.square().sum(), weights, create_graph=True)
            unit = (error / error.norm()).detach()
            tangent = _flat(torch.autograd.grad((unit * output).sum(), weights, retain_graph=True))
            slopes.append(slope)
            steps.append([g / (tangent.square().sum() + 1e-6) for g in slope])
            inputs.append(a)
            errors.append(error)
            logits.append(_logit(memory, rates[t, 3], _flat(slope).norm().detach()))
        gates = [_gate(memory, logit) for logit in logits]
        writing = [j for j, w in enumerate(gates) if float(w.detach()) >= 0.5]
        if config.second_order and memory.hard and writing:
            ridge = memory.ridge.exp()
            # An input longer than float32 bears counts less, and so does what the gate is not sure of.
            counted = {j: (1e5 * ridge / inputs[j].square().sum()).clamp(max=1.0).detach() for j in writing}
            if config.sure is not None:
                counted = {j: c / (1 + torch.exp(config.sure - logits[j])).detach() for j, c in counted.items()}
            written = sum(counted[j] * torch.outer(inputs[j], inputs[j]) for j in writing) / ridge
            inverse = torch.linalg.inv(torch.linalg.inv(inverse) + written)
            for j in writing:
                steps[j][-1] = torch.outer(errors[j], counted[j] * (inverse @ inputs[j]) / ridge)
            inverse = inverse.detach()
        theta = [torch.sigmoid(rates[t, 0]) for t in tokens]
        eta = [0.9 * torch.sigmoid(rates[t, 1]) * config.momentum for t in tokens]
        alpha = [torch.sigmoid(rates[t, 2]) * config.decay for t in tokens]
        factor = _bound(
            config,
            [float((w * h).detach()) for w, h in zip(gates, theta, strict=True)],
            writing,
            eta,
            slopes,
            steps,
            errors,
        )
        kept = 1.0
        for h, n, a, w, step in zip(theta, eta, alpha, gates, steps, strict=True):
            momentum = [(1 - w * (1 - n)) * s - w * h * factor * g for s, g in zip(momentum, step, strict=True)]
            delta = [(1 - w * a) * d + w * s for d, s in zip(delta, momentum, strict=True)]
            kept *= float((1 - w * a).detach())
        delta = [d * min(1.0, config.radius / max(float(d.detach().norm()), 1e-12)) for d in delta]
        if config.second_order and memory.hard:
            inverse = inverse * min(1 / kept**2, config.hidden / float(inverse.trace()))
    root = torch.stack(readouts)
    root = root / (root.square().mean(-1, keepdim=True) + 1e-4).sqrt() * memory.gain
    return Passed(root, delta, momentum, inverse)


def _projected(memory: ContextMemory, x: Tensor) -> Tensor:
    taps = memory.convolution.weight
    mixed = [
        x[t] + sum(taps[i] * x[t - len(taps) + 1 + i] for i in range(len(taps)) if t - len(taps) + 1 + i >= 0)
        for t in range(len(x))
    ]
    unit = normalize(memory.query(torch.stack(mixed)), dim=-1)
    return torch.cat([unit, torch.ones_like(unit[:, :1])], 1)


def _mlp(weights: list[Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Return M(x), and what its last layer was given."""
    h = weights[0] @ x
    for w in weights[1:-1]:
        h = h + w @ silu(h)
    return weights[-1] @ silu(h), silu(h)


def _logit(memory: ContextMemory, logit: Tensor, surprise: Tensor) -> Tensor:
    own = memory.rates.bias[3] if memory.config.gate == "surprise" else logit
    return own + memory.surprise * torch.log(surprise + 1e-4)


def _gate(memory: ContextMemory, logit: Tensor) -> Tensor:
    if memory.config.gate == "open":
        return torch.ones_like(logit)
    soft = torch.sigmoid(logit)
    return (logit > 0).to(soft.dtype) + soft - soft.detach() if memory.hard else soft


def _bound(config, moved, writing, eta, slopes, steps, errors) -> float:
    flat, flat_steps = [_flat(s).detach() for s in slopes], [_flat(s).detach() for s in steps]
    length = [float(e.detach().norm()) for e in errors]
    factor = 1.0
    if writing:
        sums = [
            sum(m * abs(float(flat[i] @ flat_steps[j])) / length[j] for j, m in enumerate(moved)) / length[i]
            for i in writing
        ]
        largest_eta = max(float(eta[i].detach()) for i in writing)
        factor = min(1.0, config.curvature * (1 - largest_eta) / max(*sums, 1e-12))
    norm = float(sum(m * step for m, step in zip(moved, flat_steps, strict=True)).norm())
    return factor * min(1.0, config.clip / max(factor * norm, 1e-12))


def _flat(tensors) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])
