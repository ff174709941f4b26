"""Fast forms of the losses' formulas, each tested against the plain one."""
