"""What is to be planned: the configuration, and model, data and profiles read and checked.

Imports of planner: deploy, values, store, limits, samples, cuts, cost, training, quality.
"""
