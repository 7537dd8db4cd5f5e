"""FACTS: what a model, a device and a link are. Imports nothing else of splitpoint."""
