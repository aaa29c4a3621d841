package plan

// Visited is the set of the atomic parts that a traversal has seen in the composite
// part where it is. All implementations use this one, by ID: it costs next to nothing,
// so what is measured is how parts are reached.
type Visited struct {
	marks []uint32 // by ID: the round in which it was added
	round uint32
}

// NewVisited returns a set for IDs up to a number; it grows when there are others.
func NewVisited(ids int) *Visited { return &Visited{marks: make([]uint32, ids+1)} }

// Clear removes all IDs.
func (v *Visited) Clear() {
	if v.round++; v.round == 0 {
		clear(v.marks)
		v.round = 1
	}
}

// Add adds an ID, and reports whether it was not there.
func (v *Visited) Add(id int64) bool {
	if uint64(id) >= uint64(len(v.marks)) {
		v.marks = append(v.marks, make([]uint32, int(id)+1-len(v.marks)+len(v.marks)/2)...)
	}
	if v.marks[id] == v.round {
		return false
	}
	v.marks[id] = v.round
	return true
}

// Sink keeps what visits read, so that the compiler does not leave them out.
var Sink int64
