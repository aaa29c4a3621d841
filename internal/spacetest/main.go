//go:build unix

package spacetest

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

// Children has the programs that tests run in separate processes, by name: this test binary,
// started again with EVERHEAP_CHILD set to the name. The test files add theirs in init.
var Children = map[string]func() int{}

// Main is for TestMain: it runs a child, or the tests, and returns the exit status. After
// the tests it calls the functions in after; then no goroutine may be left.
func Main(m *testing.M, after ...func()) int {
	if name := os.Getenv("EVERHEAP_CHILD"); name != "" {
		child, ok := Children[name]
		if !ok {
			fmt.Fprintf(os.Stderr, "there is no child named %s\n", name)
			return 2
		}
		return child()
	}
	flag.Parse()
	if !given("rapid.checks") {
		_ = flag.Set("rapid.checks", strconv.Itoa(Scaled(4))) // no effect in a binary without this flag
	}
	if !given("rapid.steps") {
		_ = flag.Set("rapid.steps", "40")
	}
	if !given("rapid.seed") && *SeedFlag != 0 {
		_ = flag.Set("rapid.seed", strconv.FormatUint(*SeedFlag, 10))
	}
	if !given("rapid.nofailfile") {
		_ = flag.Set("rapid.nofailfile", "true") // the printed seed replays the failure
	}
	home, err := os.MkdirTemp("", "everheap-home-") // so that tests do not see the user's spaces
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	os.Setenv("EVERHEAP_HOME", home)
	code := m.Run()
	for _, f := range after {
		f()
	}
	os.RemoveAll(home)
	if code == 0 {
		var err error
		if !Wait(Patience, func() bool { err = goleak.Find(); return err == nil }) {
			fmt.Fprintln(os.Stderr, "goroutines are left after the tests:", err)
			code = 1
		}
	}
	return code
}

// given reports whether a flag was set on the command line.
func given(name string) bool {
	found := false
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}
