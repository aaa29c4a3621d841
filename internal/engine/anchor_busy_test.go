package engine

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/live"
)

// An anchor waits for a slot while other processes write all of them. If those processes are
// suspended, it returns an error.
func TestAnchor_WaitsForASlot(t *testing.T) {
	sp, err := Open(filepath.Join(t.TempDir(), "s"), Options{MaxSize: 64 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	var claims []live.AnchorClaim
	for {
		c, ok := sp.Live.ClaimAnchor()
		if !ok {
			break
		}
		claims = append(claims, c)
	}
	if err := sp.Anchor(true); !errors.Is(err, failure.ErrBusy) {
		t.Errorf("all slots are being written: %v", err)
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		for _, c := range claims {
			sp.Live.AbandonAnchor(c)
		}
	}()
	if err := sp.Anchor(true); err != nil {
		t.Errorf("the slots are given back meanwhile: %v", err)
	}
}
