"""The device, server and link profiles that are shipped.

Imports of profiles: errors, files, machine, link.
"""
