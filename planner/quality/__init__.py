"""What a candidate loses: metrics, intervals, and the measurement through real payloads and tails.

Imports of planner: deploy, values, store, limits, samples, coding.
"""
