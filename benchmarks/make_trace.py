"""The shipped trace: self-made, because the public ones are GPL or have no licence. Prints its YAML list.

A first-order autoregression of the logarithm of the rate in steps of a second, around 4 Mbit/s, with a tenth of the
seconds in a deep fade: the shape of an LTE uplink on foot (Ghent and mahimahi traces), not a recording of one.
"""

from __future__ import annotations

import numpy as np

__all__ = ["rates_mbit_s"]

SEED, SECONDS = 20261122, 120
MEDIAN_MBIT_S, SIGMA, MEMORY = 4.0, 0.5, 0.9
FADE_SHARE, FADE_FACTOR = 0.1, 0.1


def rates_mbit_s() -> list[float]:
    """Mbit/s of each second, two decimals."""
    rng = np.random.default_rng(SEED)
    level, levels = 0.0, []
    for noise in rng.standard_normal(SECONDS):
        level = MEMORY * level + SIGMA * np.sqrt(1 - MEMORY**2) * noise
        levels.append(level)
    rates = MEDIAN_MBIT_S * np.exp(np.array(levels))
    rates[rng.random(SECONDS) < FADE_SHARE] *= FADE_FACTOR
    return [round(float(rate), 2) for rate in rates]


if __name__ == "__main__":
    print("[" + ", ".join(f"{rate} Mbit/s" for rate in rates_mbit_s()) + "]")
