"""What a plan must meet and what it is compared by: one row a limit, one row an objective.

Imports of planner: deploy, values.
"""
