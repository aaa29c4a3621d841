//go:build invariants

package invariant

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func TestAssert_Panics(t *testing.T) {
	Assert(true, "holds")
	defer func() {
		if recover() == nil {
			t.Error("Assert accepts a violation")
		}
	}()
	Assert(false, "does not hold")
}

func TestPoison_Fills(t *testing.T) {
	b := make([]byte, 100)
	Poison(b)
	if !bytes.Equal(b, bytes.Repeat([]byte{PoisonByte}, 100)) {
		t.Error("Poison has not changed some bytes")
	}
}

// The process dies at the point that the variable names, at the count-th pass,
// and at no other.
func TestPoint_Kills(t *testing.T) {
	if os.Getenv(PointVariable) != "" {
		Point("commit.sealed")
		os.Stdout.WriteString("first\n")
		Point("commit.swap")
		os.Stdout.WriteString("second\n")
		Point("commit.swap")
		os.Stdout.WriteString("third\n")
		return
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable, "-test.run=^TestPoint_Kills$")
	cmd.Env = append(os.Environ(), PointVariable+"=commit.swap:2:kill")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process was not killed: %v, %q", err, out)
	}
	if string(out) != "first\nsecond\n" {
		t.Errorf("it died after %q", out)
	}
}
