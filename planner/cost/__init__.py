"""Seconds, bytes, joules and money of a candidate, predicted or timed."""
