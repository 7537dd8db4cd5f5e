"""Expensive results kept on disk, by content: what one run computed another need not.

Imports of planner: values.
"""
