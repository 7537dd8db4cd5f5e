"""Plan directories: written, read back, run on the report set and verified.

Imports of planner: deploy, values, store, samples, cuts, choice, quality, setup, measuring, search, answers.
"""
