"""What the commands profile and calibrate measure: this host, and the tensors at every cut.

Imports of planner: values, store, samples, cuts, cost, coding, setup, networks.
"""
