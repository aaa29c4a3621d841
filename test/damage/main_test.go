// Package damage damages the files of spaces and backups: every operation must return an error or an
// answer, never panic or hang, and the intact part can be salvaged.
package damage

import (
	"os"
	"testing"

	"github.com/everheap/everheap/internal/spacetest"
)

func TestMain(m *testing.M) { os.Exit(spacetest.Main(m)) }
