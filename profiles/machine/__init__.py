"""What a device and a machine are.

Imports of profiles: errors, units, files.
"""
