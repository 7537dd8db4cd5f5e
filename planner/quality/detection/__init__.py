"""Boxes: decoded from outputs, matched with true ones, and average precision of the matches.

Imports of planner: deploy, values.
"""
