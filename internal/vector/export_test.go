package vector

// Visits returns how many nodes the Differ has looked at.
func (d *Differ) Visits() int { return d.visits }
