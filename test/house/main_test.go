// Package house tests how the project is kept: which packages import which, how large they are, that
// the documents and comments speak of what exists, and that INVARIANTS.md lists what the comments state.
package house

import "testing"

// inRoot makes the root of the module the working directory of a test. TestMain could not do so: go
// test would then look for changes of the files that tests read in another place, and report old
// results.
func inRoot(t *testing.T) {
	t.Helper()
	t.Chdir("../..")
}
