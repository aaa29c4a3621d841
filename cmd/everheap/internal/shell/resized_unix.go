//go:build unix

package shell

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyResized makes the terminal's changes of size known to c, until stop is called.
func notifyResized(c chan<- os.Signal) (stop func()) {
	signal.Notify(c, syscall.SIGWINCH)
	return func() { signal.Stop(c) }
}
