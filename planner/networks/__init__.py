"""Networks to plan beside the given one: other sizes and precisions, pruned heads, trained end to end.

Imports of planner: values, samples, cuts, cost, training, coding, setup.
"""
