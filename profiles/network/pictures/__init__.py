"""Picture files as arrays, and where their pixels lie in a network's input.

Imports of profiles: nothing but errors.
"""
