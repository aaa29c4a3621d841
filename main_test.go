package everheap_test

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

// children are the programs that tests run in processes of their own: this very
// test binary, started again with EVERHEAP_CHILD set to a name in this map. The
// test files enter theirs in init.
var children = map[string]func() int{}

// TestMain runs a child, or the tests. After the tests no goroutine may be left.
func TestMain(m *testing.M) {
	if name := os.Getenv("EVERHEAP_CHILD"); name != "" {
		child, ok := children[name]
		if !ok {
			fmt.Fprintf(os.Stderr, "there is no child named %s\n", name)
			os.Exit(2)
		}
		os.Exit(child())
	}
	flag.Parse()
	if !given("rapid.checks") {
		_ = flag.Set("rapid.checks", strconv.Itoa(scaled(4)))
	}
	if !given("rapid.steps") {
		_ = flag.Set("rapid.steps", "40")
	}
	if !given("rapid.seed") && *seedFlag != 0 {
		_ = flag.Set("rapid.seed", strconv.FormatUint(*seedFlag, 10))
	}
	if !given("rapid.nofailfile") {
		_ = flag.Set("rapid.nofailfile", "true") // the seed is printed, and replays the failure
	}
	home, err := os.MkdirTemp("", "everheap-home-") // the tests see no spaces of the user
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv("EVERHEAP_HOME", home)
	code := m.Run()
	if bench.space != nil {
		bench.space.Close() // it was shared by the benchmarks
	}
	os.RemoveAll(home)
	if sharedBenchDir != "" {
		os.RemoveAll(sharedBenchDir)
	}
	if code == 0 {
		var err error
		if !wait(patience, func() bool { err = goleak.Find(); return err == nil }) {
			fmt.Fprintln(os.Stderr, "goroutines are left after the tests:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// given reports whether a flag was set on the command line.
func given(name string) bool {
	found := false
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}
