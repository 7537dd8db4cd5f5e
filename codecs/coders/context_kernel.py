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
    "MAX_EXPONENT",
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
ONES = 3  # classes of the magnitude in the channel before
LEAST, MOST = 24, ONE - 25  # limits of an adaptive probability
LEAST_SIGN = 1024  # and of a sign's: a channel of one sign so far costs at least 0.02 bit a symbol
HALF = ONE // 2
RANGE_BITS = 40  # of `low` and `span`: five bytes
RANGE_MASK = (1 << RANGE_BITS) - 1
LEAST_SPAN = 1 << (RANGE_BITS - 8)  # below it a byte is settled; p of 16 bits still divides what remains
ENCODE, DECODE, TRAIN = 0, 1, 2


def contexts(channels: int) -> int:
    """Number of adaptive probabilities."""
    shared = SPACE * ACROSS + LEVEL * ONES + GROUP * ACROSS + LEVEL * SPACE
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


Int = Any  # np.int64: mypy would narrow sums of it with Python's integers to types that numba does not have


@Kernel
def _next_byte(data: Array, at: Int) -> Int:
    """Return byte `at` of the payload; zeros follow its end, so that a flush may leave them out."""
    return np.int64(data[at]) if at < len(data) else np.int64(0)


@Kernel
def _propagate_carry(data: Array, at: Int) -> None:
    """Add one to the number whose last byte is `data[at - 1]`: the carry out of `low`."""
    carry = at - 1
    while data[carry] == 255:
        data[carry] = 0
        carry -= 1
    data[carry] += 1


@Kernel
def _code_bit(mode: int, yes: Int, p: Int, low: Int, span: Int, at: Int, value: Int, data: Array) -> tuple[Any, ...]:
    """Code one answer whose probability of yes is p / ONE; returns (answer, low, span, at, value).

    Range coder with carry (Martin 1979): the interval [low, low + span) is divided in proportion to p, yes below no.
    `value` is what the decoder has read, less its own `low`.
    """
    bound = (span >> 16) * p
    if mode == DECODE:
        yes = value < bound
    if yes:
        span = bound
    else:
        span -= bound
        if mode == DECODE:
            value -= bound
        else:
            low += bound
    if mode == ENCODE and low >> RANGE_BITS:
        low &= RANGE_MASK
        _propagate_carry(data, at)
    while span < LEAST_SPAN:  # renormalization: a byte leaves low, or enters value
        span <<= 8
        if mode == DECODE:
            value = value << 8 | _next_byte(data, at)
        else:
            data[at] = low >> (RANGE_BITS - 8)
            low = (low << 8) & RANGE_MASK
        at += 1
    return yes, low, span, at, value


@Kernel
def _code_escape(
    mode: int, rest: Int, low: Int, span: Int, at: Int, value: Int, data: Array
) -> tuple[Any, ...]:  # fmt: skip
    """Code `rest` as an Exp-Golomb number (Teuhola 1978); returns (rest, low, span, at, value), rest -1 if too long.

    rest + 1 has one leading bit and `bits` others: `bits` answers yes, one no, then those bits from the highest. Every
    answer has probability 1/2.
    """
    bits = _length(rest + 1) if mode == ENCODE else np.int64(0)
    exponent = np.int64(0)
    yes: Any = True
    while yes:
        yes, low, span, at, value = _code_bit(mode, exponent < bits, HALF, low, span, at, value, data)
        if yes:
            exponent += 1
            if exponent > MAX_EXPONENT:
                return np.int64(-1), low, span, at, value
    number = np.int64(1)
    while exponent > 0:
        exponent -= 1
        wanted = ((rest + 1) >> exponent) & 1 == 1
        yes, low, span, at, value = _code_bit(mode, wanted, HALF, low, span, at, value, data)
        number = number << 1 | (1 if yes else 0)
    return number - 1, low, span, at, value


@Kernel
def _length(number: Int) -> Int:
    """Return floor(log2(number)) of a positive number."""
    bits = np.int64(0)
    while number >> (bits + 1):
        bits += 1
    return bits


@Kernel
def _flush(low: Int, span: Int, at: Int, data: Array) -> Int:
    """Write the shortest number in [low, low + span), trailing zeros left out; returns the payload's length."""
    for count in range(RANGE_BITS // 8 + 1):
        mask = (np.int64(1) << (RANGE_BITS - 8 * count)) - 1
        end = (low + mask) & ~mask
        if end < low + span:
            if end >> RANGE_BITS:
                end &= RANGE_MASK
                _propagate_carry(data, at)
            for byte in range(count):
                data[at] = (end >> (RANGE_BITS - 8 - 8 * byte)) & 255
                at += 1
            break
    return at


@Kernel
def _space_class(around: Int) -> Int:
    """Return the class, below SPACE, of 2 (north + west) + north-west + north-east: magnitudes in the same channel."""
    if around >= 16:
        return np.int64(SPACE - 1)
    return around if around < 3 else 3 if around < 5 else 4 if around < 7 else 5 if around < 10 else 6


@Kernel
def _across_class(one: Int, two: Int) -> Int:
    """Return the class, below ACROSS, of the magnitudes at this position one and two channels before."""
    both = 2 * one + two
    return both if both < 4 else 4 if both < 7 else np.int64(ACROSS - 1)


@Kernel
def _group_class(beside: Int) -> Int:
    """Return the class, below GROUP, of the magnitudes at this position one group before and beside that channel."""
    return beside if beside < 3 else 3 if beside < 6 else np.int64(GROUP - 1)


@Kernel
def _level_class(level: Int, expected: Int) -> Int:
    """Return the class, below LEVEL, of `level` / `expected`: edges at (4 + 2 h + h^2 / 2) / 16, h = 0, 1, ..."""
    ratio = ((level + 128) << 4) // expected
    height = np.int64(0)
    while height < LEVEL - 1 and ratio >= 4 + 2 * height + (height * height >> 1):
        height += 1
    return height


@Kernel
def _mix(
    logits: Array, index: Array, leaf: Int, own: Int, state: Array, weights: Array, row: Int, stretch: Array,
    squash: Array,
) -> Int:  # fmt: skip
    """Return p = squash(sum of w_i stretch(p_i)), in 1/ONE, and fill `logits` with the stretch(p_i).

    Logistic mixing (Mahoney 2005, PAQ7 and lpaq): stretch(p) = ln(p / (1 - p)), squash its inverse, both by table.
    """
    logits[0] = stretch[np.int64(state[index[0] + own]) >> 4]
    dot: Any = logits[0] * weights[row, 0]
    for i in range(1, INPUTS):
        logits[i] = stretch[np.int64(state[index[i] + leaf]) >> 4]
        dot += logits[i] * weights[row, i]
    dot = min(max(dot >> 16, -STRETCH), STRETCH)
    return np.int64(squash[dot + STRETCH + 1])


@Kernel
def _adapt_weights(logits: Array, yes: Int, p: Int, weights: Array, row: Int, speed: int) -> None:
    """Gradient step of the code length: w_i += speed * stretch(p_i) * (answer - p), rounded (Mahoney 2005)."""
    error = (ONE if yes else 0) - p
    for i in range(INPUTS):
        heavy = weights[row, i] + ((logits[i] * error * speed + (1 << 17)) >> 18)
        weights[row, i] = min(max(heavy, -HEAVIEST), HEAVIEST)


@Kernel
def _adapt_probability(
    place: Int, yes: Int, lowest: int, highest: int, state: Array, seen: Array, steps: Array, slowest: int
) -> None:
    """Move probability `place` by 1 / (n + 1.5) of its error after n answers, n at most `slowest`.

    The first steps are those of the estimate (count + 1/2) / (n + 1) of Krichevsky and Trofimov (1981), nearly.
    """
    count = seen[place]
    old = np.int64(state[place])
    fresh = old + (((ONE - 1 if yes else 0) - old) * steps[count] >> 16)
    state[place] = min(max(fresh, lowest), highest)
    if count < slowest:
        seen[place] = count + 1


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
    start1 = channels * OWN  # where the probabilities of each kind of context start in `state`
    start2 = start1 + CLASSES * SPACE * ACROSS * NODES
    start3 = start2 + CLASSES * LEVEL * ONES * NODES
    start4 = start3 + CLASSES * GROUP * ACROSS * NODES
    low, span, at, value = np.int64(0), np.int64(1) << RANGE_BITS, np.int64(0), np.int64(0)
    if mode == DECODE:
        for _ in range(RANGE_BITS // 8):
            value = value << 8 | _next_byte(data, at)
            at += 1
    level = np.zeros(positions, np.int64)  # sum of the magnitudes at a position over the channels so far, in 1/256
    expected = np.int64(256)  # what `means` says of that sum
    index = np.zeros(INPUTS, np.int64)
    logits = np.zeros(INPUTS, np.int64)
    cost = 0.0
    for channel in range(channels):
        kind = np.int64(classes[channel])
        for position in range(positions):
            # Magnitudes that were coded around this one. Read in this loop: a function that was given the arrays made
            # coding 1.3 to 1.5 times slower.
            column = position % width
            north = abs(np.int64(symbols[channel, position - width])) if position >= width else np.int64(0)
            west = abs(np.int64(symbols[channel, position - 1])) if column > 0 else np.int64(0)
            corners = np.int64(0)
            if position >= width:
                if column > 0:
                    corners += abs(np.int64(symbols[channel, position - width - 1]))
                if column < width - 1:
                    corners += abs(np.int64(symbols[channel, position - width + 1]))
            one = abs(np.int64(symbols[channel - 1, position])) if channel > 0 else np.int64(0)
            two = abs(np.int64(symbols[channel - 2, position])) if channel > 1 else np.int64(0)
            beside = np.int64(0)
            if group > 0 and channel >= group:
                other = channel - group
                beside = 2 * abs(np.int64(symbols[other, position]))
                if other + 1 < channel:  # with one channel a group this would be the symbol that is being coded
                    beside += abs(np.int64(symbols[other + 1, position]))
                if other > 0:
                    beside += abs(np.int64(symbols[other - 1, position]))
            space, across = _space_class(2 * (north + west) + corners), _across_class(one, two)
            same = _group_class(beside)
            height = _level_class(level[position], expected)
            # The contexts: the channel; its class with the magnitudes (1) around and in the channels before, (2) at
            # this position in all channels and in the one before, (3) one group before and in the channels before, (4)
            # at this position in all channels and around.
            index[0] = channel * OWN
            index[1] = start1 + ((kind * SPACE + space) * ACROSS + across) * NODES
            index[2] = start2 + ((kind * LEVEL + height) * ONES + min(one, ONES - 1)) * NODES
            index[3] = start3 + ((kind * GROUP + same) * ACROSS + across) * NODES
            index[4] = start4 + ((kind * LEVEL + height) * SPACE + space) * NODES
            magnitude = abs(np.int64(symbols[channel, position]))
            node = np.int64(0)
            more: Any = True
            while more and node < UNARY:  # "is the magnitude larger than `node`?"
                leaf: Any = min(node, NODES - 1)
                own: Any = min(node, OWN - 2)
                row = kind * NODES + leaf
                p = _mix(logits, index, leaf, own, state, weights, row, stretch, squash)
                more = magnitude > node
                if mode == TRAIN:
                    cost -= np.log2((p if more else ONE - p) / ONE)
                else:
                    more, low, span, at, value = _code_bit(mode, more, p, low, span, at, value, data)
                _adapt_weights(logits, more, p, weights, row, speed)
                _adapt_probability(index[0] + own, more, LEAST, MOST, state, seen, steps, slowest)
                for i in range(1, INPUTS):
                    _adapt_probability(index[i] + leaf, more, LEAST, MOST, state, seen, steps, slowest)
                if more:
                    node += 1
            if node == UNARY:
                rest = magnitude - UNARY
                if mode == TRAIN:
                    cost += 2 * _length(rest + 1) + 1
                else:
                    rest, low, span, at, value = _code_escape(mode, rest, low, span, at, value, data)
                    if rest < 0:
                        return np.int64(-1)
                node = UNARY + rest
            negative: Any = symbols[channel, position] < 0
            if node > 0:
                place = channel * OWN + OWN - 1
                p = np.int64(state[place])
                if mode == TRAIN:
                    cost -= np.log2((p if negative else ONE - p) / ONE)
                else:
                    negative, low, span, at, value = _code_bit(mode, negative, p, low, span, at, value, data)
                _adapt_probability(place, negative, LEAST_SIGN, ONE - LEAST_SIGN, state, seen, steps, slowest)
            if mode == DECODE:
                symbols[channel, position] = -node if negative and node > 0 else node
                if at > len(data) + RANGE_BITS // 8:
                    return np.int64(-1)
            level[position] += node << 8
        expected += means[channel]
    if mode == TRAIN:
        return np.int64(cost * 1024)
    return _flush(low, span, at, data) if mode == ENCODE else at
