package member

import "github.com/everheap/everheap/internal/mapping"

// Forked reports whether the space was opened by another process than this one, which is
// a fork of it (Q2).
func (m *Member) Forked() bool { return mapping.Forked(m.process) }
