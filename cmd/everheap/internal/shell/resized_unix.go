//go:build unix

package shell

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyResized sends a signal to c when the size of the terminal changes, until stop is called.
func notifyResized(c chan<- os.Signal) (stop func()) {
	signal.Notify(c, syscall.SIGWINCH)
	return func() { signal.Stop(c) }
}
