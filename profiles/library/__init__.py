"""The device, server and link profiles that are shipped.

Imports of ours: `profiles.errors`, `profiles.units` and the other sub-packages (files, network, machine, link,
measurement).
"""
