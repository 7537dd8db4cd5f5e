"""The device, server and link profiles that are shipped.

Imports of profiles: errors, units, files, machine, link.
"""
