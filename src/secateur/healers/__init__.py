"""Ways to mend a pruned net without training: no labels, no gradient step; one a file."""
