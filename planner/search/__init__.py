"""From tables of candidates to measured points, their Pareto front and the recommended one.

Imports of planner: deploy, values, limits, samples, cuts, cost, choice, coding, quality, setup, networks,
profiling, measuring.
"""
