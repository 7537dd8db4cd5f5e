"""Codecs run at the cuts of a network, with what fitting them may need: layers, labels, gradients.

Imports of planner: deploy, values, store, samples, cuts, training.
"""
