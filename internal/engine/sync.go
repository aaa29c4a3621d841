package engine

// Sync returns when everything committed before the call is on disk.
func (sp *Space) Sync() error { return sp.Within(sp.durable.Sync) }

// Spool writes everything committed to the journal, without a sync, as the background does from
// time to time.
func (sp *Space) Spool() error { return sp.Within(sp.durable.Spool) }

// Anchor writes an anchor of the newest version, as the background does from time to time; with
// twice it writes two, so that no record of the journal is needed any more.
func (sp *Space) Anchor(twice bool) error {
	return sp.Within(func() error {
		if twice {
			return sp.durable.AnchorTwice()
		}
		return sp.durable.WriteAnchor(nil, false)
	})
}
