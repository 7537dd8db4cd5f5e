"""Weights trained by gradient descent: batches, losses, steps, checkpoints, activations computed once.

Imports of planner: values, store, samples.
"""
