"""Networks to plan beside the given one: other sizes and precisions, pruned heads.

Imports of planner: values, samples, cuts, cost, training, setup.
"""
