"""From tables of candidates to measured points, their Pareto front and the recommended one."""
