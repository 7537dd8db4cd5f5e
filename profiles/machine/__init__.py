"""What a device and a machine are.

Imports of ours: `profiles.errors`, `profiles.units` and, of the sub-packages, files and network.
"""
