"""What a link is: rates, delays, energy, queues.

Imports of profiles: errors, units, files, machine.
"""
