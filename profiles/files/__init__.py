"""Files of facts: YAML 1.2, typed structs with error paths, and code that a user names.

Imports of ours: `profiles.errors` and `profiles.units`.
"""
