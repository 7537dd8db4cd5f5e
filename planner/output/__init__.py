"""What commands print: documents for --json, and their views. May import every other part of the planner.

Imports of planner: deploy, values, store, limits, cuts, cost, choice, setup, profiling, measuring, search,
answers, plandir, study.
"""
