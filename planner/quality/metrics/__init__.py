"""One file a metric: how outputs become an answer, how an answer is compared, and how the comparisons add up.

Imports of planner: deploy, values, samples, quality.
"""
