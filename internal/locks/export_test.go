package locks

// Known returns how many locks the table of the space has.
func (s *Session) Known() int {
	s.table.Lock()
	defer s.table.Unlock()
	return len(s.table.locks)
}
