package trie

// Visits returns how many blocks the Differ has looked at.
func (d *Differ) Visits() int { return d.visits }
