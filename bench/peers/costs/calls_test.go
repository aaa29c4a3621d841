package costs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/bench/peers/model"
)

// childVariable tells this program to do something, in place of the tests: "WHAT N DIR".
const childVariable = "EVERHEAP_PEERS_COSTS"

const users = 10_000

// child does n reads or commits.
func child(work string) error {
	var what, dir string
	var n int
	if _, err := fmt.Sscan(work, &what, &n, &dir); err != nil {
		return err
	}
	s, m, err := filled(dir, users)
	if err != nil {
		return err
	}
	defer s.Close()
	r, k := model.NewRNG(1), model.NewKeyBuf()
	var u model.User
	model.FillUser(&u, 1, 1)
	for range n {
		key := k.Key(r.N(users))
		switch what {
		case "get":
			_, err = m.Get(s, key)
		case "view":
			err = s.View(func(tx *everheap.Tx) error {
				if m.Peek(tx, key) == nil {
					return everheap.ErrNotFound
				}
				return nil
			})
		case "set":
			err = m.Set(s, key, u)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// calls counts the system calls of a child, or skips the test.
func calls(t *testing.T, what string, n int) int {
	t.Helper()
	dir := t.TempDir()
	out := filepath.Join(dir, "calls")
	c := exec.Command("strace", "-f", "-c", "-o", out, os.Args[0])
	c.Env = append(os.Environ(), "GOGC=off", // its calls are not ours, and it works while memory is allocated
		childVariable+"="+fmt.Sprintf("%s %d %s", what, n, dir))
	if text, err := c.CombinedOutput(); err != nil {
		if strings.Contains(string(text), "ptrace") {
			t.Skipf("strace may not trace here: %s", text)
		}
		t.Fatalf("%v: %s", err, text)
	}
	b, err := os.ReadFile(out)
	must(t, err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 5 && f[len(f)-1] == "total" {
			total, err := strconv.Atoi(f[3])
			must(t, err)
			return total
		}
	}
	t.Fatalf("strace printed no total:\n%s", b)
	return 0
}

// Reads make no system calls: at most one in a thousand, those of the background and of
// Go's runtime, but for its collector, included. A small commit makes less than one,
// and the number is printed.
func TestReads_MakeNoCalls(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed")
	}
	for _, c := range []struct {
		what string
		n    int
		most float64
	}{{"get", 1_000_000, 1}, {"view", 1_000_000, 1}, {"set", 100_000, 1000}} {
		per := c.most + 1
		for range 5 { // a busy machine makes the background call more often
			per = min(per, float64(calls(t, c.what, c.n)-calls(t, c.what, 0))/float64(c.n)*1000)
			if per <= c.most {
				break
			}
		}
		t.Logf("%s: %.2f system calls for 1,000 operations", c.what, per)
		if per > c.most {
			t.Errorf("%s makes %.2f system calls for 1,000 operations, at most %.0f are right", c.what, per, c.most)
		}
	}
}
