"""The functions of the package for Python and notebooks, which the commands use too.

Imports of planner: deploy, values, limits, samples, cuts, cost, coding, setup, profiling, search, plandir, study,
output, flow.
"""
