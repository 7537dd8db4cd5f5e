"""Seconds, bytes, joules and money of a candidate, predicted or timed.

Imports of planner: deploy, values, cuts.
"""
