// Package watch tests watching: what a watcher is told, of which versions, and that it
// comes to the last state whoever dies or stands still.
package watch

import (
	"os"
	"testing"

	"github.com/everheap/everheap/internal/spacetest"
)

func TestMain(m *testing.M) { os.Exit(spacetest.Main(m)) }
