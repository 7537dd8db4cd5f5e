"""The study of one problem: what is measured next, on this machine and on others, and what is known of it already.

Imports of planner: deploy, values, store, limits, samples, cuts, cost, training, coding, quality, setup, networks,
measuring, search, racing, plandir.
"""
