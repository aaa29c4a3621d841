// Package inside leads from a space, as users of the library have it, to what is behind
// it. It is there for tests and for the project's own packages only: no user can import
// it, and the library itself does not read it.
//
// The root package sets the functions when it is initialized. It imports this package,
// so its types are any here.
package inside

import (
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
)

var (
	// Engine returns what is behind a *everheap.Space.
	Engine func(space any) *engine.Space

	// Editor returns what a *everheap.Tx reads and changes objects with.
	Editor func(tx any) *edit.Editor

	// Option returns the everheap.Option that changes what the engine is told.
	Option func(change func(*engine.Options)) any

	// Options returns what a []everheap.Option tells the engine.
	Options func(opts any) engine.Options
)
