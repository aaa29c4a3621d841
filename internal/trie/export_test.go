package trie

// Visits returns how many blocks the Differ has visited.
func (d *Differ) Visits() int { return d.visits }
