"""Which of the feasible points an engineer would deploy: preferences, how surely two points differ, and the answer.

Imports of planner: deploy, values, limits, cost.
"""
