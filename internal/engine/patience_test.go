package engine

import (
	"fmt"
	"runtime/debug"
	"testing"
	"time"
)

// patience is how long a test waits for what should take a moment, on a machine that has
// much to do.
const patience = time.Minute

// within ends the tests, and shows what all goroutines do, if fn comes to no end.
func within(t *testing.T, what string, fn func()) {
	t.Helper()
	watch := time.AfterFunc(patience, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("%s: %s takes longer than %v", t.Name(), what, patience))
	})
	defer watch.Stop()
	fn()
}
