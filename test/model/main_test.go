// Package model compares what the structures do under random operations with what Go's
// maps and slices do, and fuzzes those operations.
//
// Start reading at machine.
package model

import (
	"os"
	"testing"

	"github.com/everheap/everheap/internal/spacetest"
)

func TestMain(m *testing.M) { os.Exit(spacetest.Main(m)) }
