package plan

import "slices"

// Snapshot is the changing part of a database: after the same operations it is the
// same in all implementations.
type Snapshot struct {
	Parts      map[int64]PartState
	Dates      map[int64]int64   // by the index of build dates: that of each part
	Documents  map[string]int64  // by the index of titles: the ID
	Uses       map[int64][]int64 // the base assemblies of each composite part
	Components map[int64][]int64 // the composite parts of each base assembly
}

// PartState is what a snapshot has of an atomic part. Connections are told as
// Type:Length:Part, in the order in which they were made.
type PartState struct {
	X, Y, BuildDate, DocID, Composite int64
	To, From                          string
}

// NewSnapshot returns an empty one.
func NewSnapshot() Snapshot {
	return Snapshot{
		map[int64]PartState{}, map[int64]int64{}, map[string]int64{}, map[int64][]int64{}, map[int64][]int64{},
	}
}

// Sort puts what has no order into one.
func (s Snapshot) Sort() {
	for _, ids := range s.Uses {
		slices.Sort(ids)
	}
	for _, ids := range s.Components {
		slices.Sort(ids)
	}
}
