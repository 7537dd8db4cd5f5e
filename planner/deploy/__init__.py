"""What a device or a server needs to run a plan: plan.yaml and `Plan`.

Imports of planner: nothing.
"""
