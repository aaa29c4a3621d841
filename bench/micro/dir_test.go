package micro

import (
	"os"
	"testing"
)

// benchDir returns a directory that the benchmarks of one run share. TestMain
// removes it.
func benchDir(b *testing.B) string {
	b.Helper()
	if sharedBenchDir == "" {
		dir, err := os.MkdirTemp("", "everheap-bench-")
		if err != nil {
			b.Fatal(err)
		}
		sharedBenchDir = dir
	}
	return sharedBenchDir
}

var sharedBenchDir string

// benchesEnd closes the spaces that the benchmarks share.
func benchesEnd() {
	if bench.space != nil {
		bench.space.Close()
	}
	if sharedBenchDir != "" {
		os.RemoveAll(sharedBenchDir)
	}
}
