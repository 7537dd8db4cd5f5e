"""Candidates measured on growing parts of the search set until it is settled that they cannot win.

Imports of planner: deploy, values, limits, samples, quality, search.
"""
