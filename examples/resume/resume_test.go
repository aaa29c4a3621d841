package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/google/go-cmp/cmp"
)

// TestMain runs the tests, or the program, if a test has started this binary for that.
func TestMain(m *testing.M) {
	if os.Getenv("RESUME_PROGRAM") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// result is what a space holds.
type result struct {
	Progress Progress
	Gaps     map[int]int
}

// resultOf reads it.
func resultOf(t *testing.T, dir string) (r result) {
	t.Helper()
	space, err := everheap.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer space.Close()
	err = space.View(func(tx *everheap.Tx) error {
		p, err := everheap.OpenRef(tx, "progress", Progress{})
		if err != nil {
			return err
		}
		if r.Progress, err = p.Get(tx); err != nil {
			return err
		}
		gaps, err := everheap.OpenMap[int, int](tx, "gaps")
		if err != nil {
			return err
		}
		r.Gaps = map[int]int{}
		for gap, n := range gaps.All(tx) {
			r.Gaps[gap] = *n
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The result does not come from the program: it is counted once more, number by number.
func TestCount_Small(t *testing.T) {
	want := result{Gaps: map[int]int{}}
	const limit = 20_011 // a prime, which is not below itself
	for n := 2; n < limit; n++ {
		prime := true
		for d := 2; d*d <= n && prime; d++ {
			prime = n%d != 0
		}
		if !prime {
			continue
		}
		if want.Progress.Last != 0 {
			want.Gaps[n-want.Progress.Last]++
		}
		want.Progress.Primes, want.Progress.Last = want.Progress.Primes+1, n
	}
	want.Progress.Next = limit
	for _, size := range []string{"1", "977", "1000000"} {
		dir := filepath.Join(t.TempDir(), "primes")
		var out bytes.Buffer
		if err := run([]string{"-space=" + dir, "-segment=" + size, "20011"}, &out, &out); err != nil {
			t.Fatal(err, out.String())
		}
		if diff := cmp.Diff(want, resultOf(t, dir)); diff != "" {
			t.Errorf("segments of %s (-want +got):\n%s", size, diff)
		}
	}
}

func TestRun_Usage(t *testing.T) {
	for _, args := range [][]string{nil, {"x"}, {"1"}, {"-segment=0", "100"}, {"10", "20"}} {
		if err := run(args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q is no error", args)
		}
	}
}

// The program is killed again and again, at random moments. What it finds in the end is
// what it finds when nobody disturbs it. The segments are so small that most of the time
// goes into commits.
func TestKill_ResultIsThatOfOneRun(t *testing.T) {
	const limit, kills = "6000000", 24
	undisturbed := filepath.Join(t.TempDir(), "undisturbed")
	if err := run([]string{"-space=" + undisturbed, limit}, io.Discard, os.Stderr); err != nil {
		t.Fatal(err)
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "killed")
	const seed = 1
	random := rand.New(rand.NewPCG(seed, 0))
	killed, before := 0, 0
	for {
		cmd := exec.Command(executable, "-space="+dir, "-segment=256", limit)
		cmd.Env = append(os.Environ(), "RESUME_PROGRAM=1")
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		if killed < kills {
			_, _ = out.Read(make([]byte, 1)) // it says where it begins
			time.Sleep(time.Duration(random.IntN(20_000)) * time.Microsecond)
			_ = cmd.Process.Kill() // SIGKILL
		}
		_, _ = io.Copy(io.Discard, out)
		if cmd.Wait() == nil {
			break
		}
		if killed++; killed > kills {
			t.Fatal("the program failed")
		}
		r := resultOf(t, dir)
		sum := 0
		for _, n := range r.Gaps {
			sum += n
		}
		if p := r.Progress; p.Next < before || sum != max(p.Primes-1, 0) {
			t.Fatalf("seed %d, kill %d: %d primes are known, and %d gaps between them; the numbers up to %d were done before, %d are now", seed, killed, p.Primes, sum, before, p.Next)
		}
		before = r.Progress.Next
	}
	if diff := cmp.Diff(resultOf(t, undisturbed), resultOf(t, dir)); diff != "" {
		t.Errorf("seed %d: after %d kills (-undisturbed +killed):\n%s", seed, killed, diff)
	}
	if killed < 5 {
		t.Errorf("the program ended after %d kills", killed)
	}
	t.Logf("%d kills", killed)
}
