//go:build !explore

package explore

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

var (
	bound    = flag.Int("explore.bound", 1, "how many times a schedule deviates from the default at most")
	patience = flag.Duration("explore.time", 200*time.Millisecond, "for one scenario and one bound")
	scenario = flag.String("explore.scenario", "", "the only one to be explored")
	long     = flag.Bool("explore.long", false, "also what may take minutes to be found")
	keep     = flag.String("explore.keep", "", "directory for the rewritten sources and the program made of them")
)

// The test instruments the sources and builds a program from them. The program explores all
// scenarios of the unchanged library, and for each mutant the scenario that must find it.
func TestExplore(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the library anew, and explores for a minute")
	}
	dir := *keep
	if dir == "" {
		dir = t.TempDir()
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := Instrument(root, dir)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "explore.test")
	build := exec.Command("go", "test", "-c", "-o", program, "-tags", "explore,invariants", "-overlay", overlay, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the instrumented library: %v\n%s", err, out)
	}
	run := exec.Command(program, "-test.v", "-test.timeout", "0", "-explored.bound", strconv.Itoa(*bound), "-explored.time", patience.String(), "-explored.scenario", *scenario, "-explored.long="+strconv.FormatBool(*long))
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() { // syncs cost nothing there
		run.Env = append(os.Environ(), "TMPDIR=/dev/shm")
	}
	var out bytes.Buffer
	run.Stdout, run.Stderr = &out, &out
	if testing.Verbose() { // it takes long, and logs its progress
		run.Stdout, run.Stderr = os.Stdout, os.Stderr
	}
	if err := run.Run(); err != nil {
		t.Errorf("the exploration: %v\n%s", err, out.Bytes())
	}
}
