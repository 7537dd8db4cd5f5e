"""A network ready to be measured: its cuts and parties, its costs, its quality.

Imports of planner: deploy, values, store, samples, cuts, cost, training, coding, quality, setup, networks,
profiling.
"""
