"""Sample inputs: readers of folders and files, and the three disjoint sets.

Imports of planner: nothing.
"""
