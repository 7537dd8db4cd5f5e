"""What is to be planned: the configuration, and model, data and profiles read and checked.

Imports of planner: deploy, limits, samples, cuts, cost, quality.
"""
