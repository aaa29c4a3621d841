package everheap

import (
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/inside"
)

// Tests and the project's own packages come to the engine by way of package inside.
func init() {
	inside.Engine = func(space any) *engine.Space { return space.(*Space).engine }
	inside.Option = func(change func(*engine.Options)) any {
		return option(func(s *settings) { change(&s.engine) })
	}
	inside.Options = func(opts any) engine.Options { return settingsOf(opts.([]Option)).engine }
}
