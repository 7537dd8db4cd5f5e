"""DECISIONS: cuts, cost, accuracy, search, plan, export, verify. Imports profiles and codecs."""
