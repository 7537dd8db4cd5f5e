"""What is measured on this machine: operators of a network, rates, sessions in turn.

Imports of profiles: files, network, machine.
"""
