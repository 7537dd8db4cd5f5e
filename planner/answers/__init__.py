"""Other questions answered from what one plan measured: other links, devices, servers and limits.

Imports of planner: deploy, values, limits, cost, choice, setup, measuring, search.
"""
