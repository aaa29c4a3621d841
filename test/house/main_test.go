// Package house tests how the project is kept: which packages import which, how large they are, that
// the documents and comments speak of what exists, and that INVARIANTS.md lists what the comments state.
package house

import (
	"fmt"
	"os"
	"testing"
)

// The tests name files as the root of the module does.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
