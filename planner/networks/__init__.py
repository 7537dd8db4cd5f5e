"""Networks to plan beside the given one: other sizes and precisions, pruned heads."""
