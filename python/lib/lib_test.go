package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// python runs tests of the Python package, which show that an invariant of the library holds.
// make python-test runs all of them.
func python(t *testing.T, names ...string) {
	t.Helper()
	if built, _ := filepath.Glob("../everheap/_everheap.*.so"); len(built) == 0 {
		t.Skip("the extension is not built: run make python-test")
	}
	cmd := exec.Command("python3", append([]string{"-m", "unittest"}, names...)...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "GODEBUG=cgocheck=1", "GOGC=5")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", names, err, out)
	}
}

func TestMemory_IsCopiedAndFreed(t *testing.T) { // PY1, PY2
	python(t, "tests.test_wrong.Ends.test_nothing_leaks", "tests.test_types.Values")
}

func TestLentBytes_LastAsLongAsTheirView(t *testing.T) { // PY3
	python(t, "tests.test_transactions.Lent")
}

func TestCalls_AreInterrupted(t *testing.T) { // PY4
	python(t, "tests.test_wrong.Signals")
}

func TestTransactions_HaveAGoroutine(t *testing.T) { // PY5
	python(t, "tests.test_transactions.Updates", "tests.test_wrong.Ends")
}

func TestPanics_AreErrors(t *testing.T) { // PY6
	python(t, "tests.test_wrong.Exceptions")
}

func TestForks_CallNothing(t *testing.T) { // PY7
	python(t, "tests.test_wrong.Forks")
}
