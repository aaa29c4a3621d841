package goroutine

import (
	"slices"
	"testing"
)

// callDeep calls fn through n frames of this package.
func callDeep(n int, fn func()) {
	if n > 0 {
		callDeep(n-1, fn)
		return
	}
	fn()
}

func TestCalledBack(t *testing.T) {
	const own = "github.com/everheap/everheap/internal/goroutine."
	want := func(what string, called bool) {
		t.Helper()
		if got := CalledBack(own); got != called {
			t.Errorf("%s: CalledBack says %v", what, got)
		}
	}
	want("from a function of the package", false)
	callDeep(200, func() { want("from many", false) })
	// slices is the program here: this package calls it, and it calls the package.
	_ = slices.IndexFunc([]int{0}, func(int) bool {
		want("from a function that another package calls", true)
		callDeep(200, func() { want("from many such functions", true) })
		return true
	})
	if CalledBack("testing.T.") {
		t.Error("CalledBack is true for a package that has called nothing")
	}
}
