"""BYTES: tensor -> payload -> tensor. Imports nothing else of splitpoint; `protocol.py` is the contract."""
