"""What is measured on this machine: operators of a network, rates, sessions in turn.

Imports of ours: `profiles.errors`, `profiles.units` and, of the sub-packages, files, network, machine and link.
"""
