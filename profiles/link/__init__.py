"""What a link is: rates, delays, energy, queues.

Imports of ours: `profiles.errors`, `profiles.units` and, of the sub-packages, files, network and machine.
"""
