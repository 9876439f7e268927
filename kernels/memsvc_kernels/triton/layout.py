"""Where a row's numbers lie, for the host and the device. All of them are float64, which holds what is an integer too.

The *plan* is what the host asks for: slot, tokens, curvature, radius, clip, largest step, two unused, and then θ, η, α
and threshold, [b] each. *Folded* is the closed form: what each token adds to Δ and to S, [b] each, keep_momentum,
keep_delta, carry, and whether anything is written. *Results* are what the host is told: surprise and wrote, [b] each,
bounded, clipped, finite, and for each layer whether it was projected.
"""

import triton.language as tl

SLOT = tl.constexpr(0)
COUNT = tl.constexpr(1)
CURVATURE = tl.constexpr(2)
RADIUS = tl.constexpr(3)
CLIP = tl.constexpr(4)
LARGEST_STEP = tl.constexpr(5)
RATES = tl.constexpr(8)

THETA = tl.constexpr(0)
ETA = tl.constexpr(1)
ALPHA = tl.constexpr(2)
THRESHOLD = tl.constexpr(3)

KEEP_MOMENTUM = tl.constexpr(0)
KEEP_DELTA = tl.constexpr(1)
CARRY = tl.constexpr(2)
WRITES = tl.constexpr(3)
SCALARS = tl.constexpr(4)

BOUNDED = tl.constexpr(0)
CLIPPED = tl.constexpr(1)
FINITE = tl.constexpr(2)
PROJECTED = tl.constexpr(3)
