"""Where a network can be cut: frontiers of tensors, the exact minimum cut, head and tail as models.

Imports of planner: deploy, values.
"""
