"""Files of facts: YAML 1.2, typed structs with error paths, and code that a user names.

Imports of profiles: errors, units.
"""
