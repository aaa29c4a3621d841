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

// The sources are rewritten, a program is built of them, and explores: all scenarios as
// the library is, and for every fix that there is a mutant of, the scenario that finds it
// out when it is taken out.
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
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() { // there is nothing to be synced
		run.Env = append(os.Environ(), "TMPDIR=/dev/shm")
	}
	var out bytes.Buffer
	run.Stdout, run.Stderr = &out, &out
	if testing.Verbose() { // it takes long, and tells what it has come to
		run.Stdout, run.Stderr = os.Stdout, os.Stderr
	}
	if err := run.Run(); err != nil {
		t.Errorf("the exploration: %v\n%s", err, out.Bytes())
	}
}
