"""The loops of the context coder: integer arithmetic only, so that every machine writes the same bytes.

A magnitude is coded as answers to "larger than 0? than 1? ...", each with a probability mixed from five adaptive ones
(logistic mixing as in Mahoney's lpaq); then the sign. The arithmetic coder keeps 40 bits of range.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.coders.jit import Kernel
from splitpoint.codecs.contract.protocol import Array

__all__ = [
    "CLASSES",
    "DECODE",
    "ENCODE",
    "HEAVIEST",
    "INPUTS",
    "NODES",
    "TRAIN",
    "code",
    "contexts",
    "logistic",
    "reciprocals",
]


def __dir__() -> list[str]:
    return __all__


INPUTS = 5  # probabilities that are mixed
NODES = 14  # questions with their own statistics; later ones share the last
OWN = 7  # of each channel: six questions, and the sign
CLASSES = 20  # of a channel's mean magnitude
SPACE = 8  # classes of magnitudes around, in the same channel
ACROSS = 6  # classes of magnitudes at the same position, in the channels before
GROUP = 5  # classes of magnitudes at the same position, one group of channels before
LEVEL = 12  # classes of all magnitudes at the same position, against what is expected
UNARY = 20  # questions asked before the rest of a magnitude goes as an Exp-Golomb number
MAX_EXPONENT = 17  # bits of that number's length: more than any int16 needs
ONE = 1 << 16
STRETCH = 2047  # logits in 1/256, limited to +-2047
HEAVIEST = 1 << 24  # limit of a mixing weight, in 1/65536
ENCODE, DECODE, TRAIN = 0, 1, 2


def contexts(channels: int) -> int:
    """Number of adaptive probabilities."""
    shared = SPACE * ACROSS + LEVEL * 3 + GROUP * ACROSS + LEVEL * SPACE
    return OWN * channels + NODES * CLASSES * shared


@functools.cache
def logistic() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """`stretch` (4096,): logit of p / 4096, in 1/256; `squash` (4096,): probability in 1/65536 of (index - 2048) / 256.

    By integer arithmetic: floating point could differ in the last bit between machines.
    """
    bits = 96
    one = 1 << bits
    base, term, n = one, one, 0  # exp(1/256) by its series
    while term:
        n += 1
        term //= 256 * n
        base += term
    powers = [one]
    for _ in range(2048):
        powers.append(powers[-1] * base >> bits)
    squash = np.zeros(4096, np.int32)
    for i in range(4096):
        e = powers[abs(i - 2048)]
        p = (e << 16) // (one + e) if i >= 2048 else (one << 16) // (one + e)
        squash[i] = min(max(p, 16), ONE - 16)
    stretch = np.searchsorted(squash, np.arange(4096) * 16 + 8).astype(np.int32) - 2048
    return np.clip(stretch, -STRETCH, STRETCH).astype(np.int32), squash


@functools.cache
def reciprocals() -> NDArray[np.int32]:
    """65536 / (n + 1.5) for n = 0..255: the step of a probability that was adapted n times."""
    return np.array([2 * ONE // (2 * n + 3) for n in range(256)], np.int32)


@Kernel
def code(
    mode: int, symbols: Array, width: int, group: int, classes: Array, means: Array, state: Array, seen: Array,
    weights: Array, stretch: Array, squash: Array, steps: Array, slowest: int, speed: int, data: Array,
) -> np.int64:  # fmt: skip
    """Code `symbols` (channels, positions in rows of `width`); adapts `state`, `seen` and `weights` in place.

    ENCODE writes `data` and gives its length; DECODE reads `data` and gives the bytes read, -1 for no payload of this
    coder; TRAIN gives the sum of -log2 of the probabilities in 1/1024 bit, and is the only mode with a float in it.
    """
    channels, positions = symbols.shape
    size = len(data)
    low, span, at, value = np.int64(0), np.int64(1) << 40, np.int64(0), np.int64(0)
    if mode == 1:
        for _ in range(5):
            value = value << 8 | (np.int64(data[at]) if at < size else np.int64(0))
            at += 1
    level = np.zeros(positions, np.int64)
    index = np.zeros(5, np.int64)
    logits = np.zeros(5, np.int64)
    base1 = channels * 7
    base2 = base1 + 20 * 8 * 6 * 14
    base3 = base2 + 20 * 12 * 3 * 14
    base4 = base3 + 20 * 5 * 6 * 14
    expected = np.int64(256)
    cost = 0.0
    for channel in range(channels):
        kind = np.int64(classes[channel])
        for position in range(positions):
            column = position % width
            north = abs(np.int64(symbols[channel, position - width])) if position >= width else np.int64(0)
            west = abs(np.int64(symbols[channel, position - 1])) if column > 0 else np.int64(0)
            corner = np.int64(0)
            if position >= width:
                if column > 0:
                    corner += abs(np.int64(symbols[channel, position - width - 1]))
                if column < width - 1:
                    corner += abs(np.int64(symbols[channel, position - width + 1]))
            around = 2 * (north + west) + corner
            space = around if around < 3 else 3 if around < 5 else 4 if around < 7 else 5 if around < 10 else 6
            if around >= 16:
                space = 7
            one = abs(np.int64(symbols[channel - 1, position])) if channel > 0 else np.int64(0)
            two = abs(np.int64(symbols[channel - 2, position])) if channel > 1 else np.int64(0)
            mixed = 2 * one + two
            across = mixed if mixed < 4 else 4 if mixed < 7 else 5
            before = np.int64(0)
            if group > 0 and channel >= group:
                other = channel - group
                before = 2 * abs(np.int64(symbols[other, position]))
                if other + 1 < channel:  # with one channel a group this would be the symbol that is being coded
                    before += abs(np.int64(symbols[other + 1, position]))
                if other > 0:
                    before += abs(np.int64(symbols[other - 1, position]))
            same = before if before < 3 else 3 if before < 6 else 4
            ratio = ((level[position] + 128) << 4) // expected
            height = 0
            while height < 11 and ratio >= 4 + 2 * height + (height * height >> 1):
                height += 1
            index[0] = channel * 7
            index[1] = base1 + ((kind * 8 + space) * 6 + across) * 14
            index[2] = base2 + ((kind * 12 + height) * 3 + (one if one < 2 else 2)) * 14
            index[3] = base3 + ((kind * 5 + same) * 6 + across) * 14
            index[4] = base4 + ((kind * 12 + height) * 8 + space) * 14

            magnitude = abs(np.int64(symbols[channel, position]))
            node = np.int64(0)
            more: Any = True
            while more and node < 20:
                leaf: Any = min(node, 13)
                row = kind * 14 + leaf
                place: Any = index[0] + min(node, 5)
                logits[0] = stretch[np.int64(state[place]) >> 4]
                dot: Any = logits[0] * weights[row, 0]
                for i in range(1, 5):
                    logits[i] = stretch[np.int64(state[index[i] + leaf]) >> 4]
                    dot += logits[i] * weights[row, i]
                dot >>= 16
                dot = min(max(dot, -2047), 2047)
                p = np.int64(squash[dot + 2048])
                bound = (span >> 16) * p
                more = value < bound if mode == 1 else magnitude > node
                if mode == 2:
                    cost -= np.log2((p if more else 65536 - p) / 65536)
                if more:
                    span = bound
                else:
                    span -= bound
                    if mode == 1:
                        value -= bound
                    else:
                        low += bound
                if mode == 0 and low >> 40:
                    low &= (np.int64(1) << 40) - 1
                    carry = at - 1
                    while data[carry] == 255:
                        data[carry] = 0
                        carry -= 1
                    data[carry] += 1
                while span < np.int64(1) << 32:
                    span <<= 8
                    if mode == 1:
                        value = value << 8 | (np.int64(data[at]) if at < size else np.int64(0))
                        at += 1
                    elif mode == 0:
                        data[at] = low >> 32
                        low = (low & 0xFFFFFFFF) << 8
                        at += 1
                    else:
                        low = np.int64(0)
                error = (65536 if more else 0) - p
                for i in range(5):
                    heavy = weights[row, i] + ((logits[i] * error * speed + (1 << 17)) >> 18)
                    weights[row, i] = min(max(heavy, -16777216), 16777216)
                    place = index[i] + (leaf if i > 0 else min(node, 5))
                    count = seen[place]
                    old = np.int64(state[place])
                    fresh = old + (((65535 if more else 0) - old) * steps[count] >> 16)
                    state[place] = min(max(fresh, 24), 65511)
                    if count < slowest:
                        seen[place] = count + 1
                if more:
                    node += 1
            # Exp-Golomb of (magnitude - UNARY) at one bit a decision, then the sign by the channel's own statistics.
            rest = magnitude - 20 if node == 20 else np.int64(-1)
            stage, bits, exponent, number = 0 if node == 20 else 2, np.int64(0), np.int64(0), np.int64(0)
            if stage == 2 and node == 0:
                stage = 3
            if mode != 1 and rest >= 0:
                while (rest + 1) >> (bits + 1):
                    bits += 1
            sign = np.int64(symbols[channel, position]) < 0
            while stage < 3:
                place = channel * 7 + 6
                p = np.int64(state[place]) if stage == 2 else np.int64(32768)
                bound = (span >> 16) * p
                if mode == 1:
                    bit = value < bound
                elif stage == 0:
                    bit = exponent < bits
                elif stage == 1:
                    bit = ((rest + 1) >> (exponent - 1)) & 1 == 1
                else:
                    bit = sign
                if mode == 2:
                    cost -= np.log2((p if bit else 65536 - p) / 65536)
                if bit:
                    span = bound
                else:
                    span -= bound
                    if mode == 1:
                        value -= bound
                    else:
                        low += bound
                if mode == 0 and low >> 40:
                    low &= (np.int64(1) << 40) - 1
                    carry = at - 1
                    while data[carry] == 255:
                        data[carry] = 0
                        carry -= 1
                    data[carry] += 1
                while span < np.int64(1) << 32:
                    span <<= 8
                    if mode == 1:
                        value = value << 8 | (np.int64(data[at]) if at < size else np.int64(0))
                        at += 1
                    elif mode == 0:
                        data[at] = low >> 32
                        low = (low & 0xFFFFFFFF) << 8
                        at += 1
                    else:
                        low = np.int64(0)
                if stage == 0:
                    if bit:
                        exponent += 1
                        if exponent > 17:
                            return np.int64(-1)
                    else:
                        number = np.int64(1)
                        stage = 1 if exponent > 0 else 2
                        if stage == 2:
                            node = 20 + number - 1
                elif stage == 1:
                    number = number << 1 | (1 if bit else 0)
                    exponent -= 1
                    if exponent == 0:
                        stage = 2
                        node = 20 + number - 1
                else:
                    sign = bit
                    stage = 3
                    count = seen[place]
                    fresh = p + (((65535 if bit else 0) - p) * steps[count] >> 16)
                    state[place] = min(max(fresh, 1024), 64512)
                    if count < slowest:
                        seen[place] = count + 1
            if mode == 1:
                symbols[channel, position] = -node if sign and node > 0 else node
                magnitude = node
                if at > size + 5:
                    return np.int64(-1)
            level[position] += magnitude << 8
        expected += means[channel]
    if mode == 0:
        for count in range(6):
            mask = (np.int64(1) << (40 - 8 * count)) - 1
            end = (low + mask) & ~mask
            if end < low + span:
                if end >> 40:
                    end &= (np.int64(1) << 40) - 1
                    carry = at - 1
                    while data[carry] == 255:
                        data[carry] = 0
                        carry -= 1
                    data[carry] += 1
                for byte in range(count):
                    data[at] = (end >> (32 - 8 * byte)) & 255
                    at += 1
                break
    return np.int64(cost * 1024) if mode == 2 else at
