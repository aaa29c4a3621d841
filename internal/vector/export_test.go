package vector

// Visits returns how many nodes the Differ has visited.
func (d *Differ) Visits() int { return d.visits }
