// Package watch tests watching: the changes that a watcher gets, of which versions, and that it
// reaches the last state whichever process dies or is suspended.
package watch

import (
	"os"
	"testing"

	"github.com/everheap/everheap/internal/spacetest"
)

func TestMain(m *testing.M) { os.Exit(spacetest.Main(m)) }
