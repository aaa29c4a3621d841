package member

import "github.com/everheap/everheap/internal/mapping"

// Forked reports whether this process is a forked child of the process that opened the space
// (Q2).
func (m *Member) Forked() bool { return mapping.Forked(m.process) }
