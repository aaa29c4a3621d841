//go:build !unix

package shell

import "os"

// notifyResized does nothing: this system has no signal for it.
func notifyResized(chan<- os.Signal) (stop func()) { return func() {} }
