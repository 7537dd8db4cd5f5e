"""The commands of the command line, a function each, and what all of them share: typer is at home here.

Imports of planner: values, store, setup, plandir, output, flow, face.
"""
