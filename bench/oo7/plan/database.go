package plan

// Database is one implementation of OO7. Each operation is one transaction, and
// returns what it counted, which must be the same in all implementations.
type Database interface {
	// T1 goes through the tree of assemblies and, in each composite part that a base
	// assembly uses, in depth through the graph of atomic parts. It returns the number
	// of parts visited; one that several assemblies use counts each time.
	T1() (int, error)
	// T2 is T1, and swaps x and y of parts. It returns the number of changes.
	T2(Updates) (int, error)
	// T3 is T2, and what it changes is the build date, which has an index.
	T3(Updates) (int, error)
	// T6 is T1, and visits only the root of each composite part.
	T6() (int, error)
	// T7 goes from an atomic part up to the root of the design, by all ways. It
	// returns the number of assemblies visited, each of which counts once.
	T7(part int64) (int, error)
	// T8 counts the character I in the manual.
	T8() (int, error)
	// T9 returns 1 if the first and the last character of the manual are the same.
	T9() (int, error)

	// Q1 looks for atomic parts by ID and returns the number of those found.
	Q1(parts []int64) (int, error)
	// BuiltFrom visits the atomic parts with a build date in a range, bounds included:
	// Q2 and Q3.
	BuiltFrom(from, to int64) (int, error)
	// Q4 looks for documents by title, and counts the uses of their composite parts
	// by base assemblies.
	Q4(titles []string) (int, error)
	// Q5 counts the base assemblies that use a composite part with a later build date
	// than their own.
	Q5() (int, error)
	// Q7 visits all atomic parts.
	Q7() (int, error)
	// Q8 counts the pairs of an atomic part and the document that has its DocID.
	Q8() (int, error)

	// Insert adds composite parts, and their uses by base assemblies. It returns the
	// number of new atomic parts.
	Insert([]Composite, []Use) (int, error)
	// Delete removes composite parts with all that is theirs, and their uses. It
	// returns the number of atomic parts removed.
	Delete(composites []int64) (int, error)

	// Snapshot returns what the operations change, for comparison.
	Snapshot() (Snapshot, error)
	Close() error
}

// Updates says what T2 and T3 change.
type Updates struct {
	RootOnly bool // of each composite part, its root; else all of its parts
	Times    int  // changes of a part that is visited once
}

// The variants a, b and c of T2 and T3.
var (
	UpdateRoots = Updates{true, 1}
	UpdateAll   = Updates{false, 1}
	UpdateFour  = Updates{false, 4}
)

// Toggle returns the build date that T3 makes of one: the change is undone by the next.
func Toggle(date int64) int64 {
	if date%2 == 1 {
		return date + 1
	}
	return date - 1
}
