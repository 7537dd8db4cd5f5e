"""Values that stages hand to one another, and where stages report progress.

Imports of planner: deploy.
"""
