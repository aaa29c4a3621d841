package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/spacetest"
)

// lease is a value that expires.
type lease struct {
	Holder string    `everheap:"unique"`
	Until  time.Time `everheap:"expires"`
}

// The child that removes expired entries, by a clock that it sets forward and back.
func init() {
	spacetest.Children["remover"] = func() int {
		c := spacetest.NewInChild()
		wall := spacetest.NewWall()
		s, err := c.Open(wall.With())
		if err != nil {
			return spacetest.Failed("open", err)
		}
		wall.Pass(time.Hour)
		m, err := everheap.OpenMap[int, lease](s, "leases")
		if err != nil {
			return spacetest.Failed("open", err)
		}
		if _, err := m.Has(s, 0); err != nil {
			return spacetest.Failed("look", err)
		}
		wall.Pass(-time.Hour)
		spacetest.Say("looked")
		<-c.Asked
		return 0
	}
}

// leased makes a space with entries that expire, all at one instant.
func leased(t *testing.T, wall *spacetest.Wall, n int, opts ...everheap.Option) (*everheap.Space, everheap.Map[int, lease]) {
	s := spacetest.Open(t, filepath.Join(t.TempDir(), "s"), append(opts, wall.With())...)
	m, err := everheap.OpenMap[int, lease](s, "leases")
	spacetest.Must(t, err)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range n {
			if err := m.Set(tx, i, lease{fmt.Sprint(i), wall.Now().Add(time.Minute)}); err != nil {
				return err
			}
		}
		return nil
	})
	return s, m
}

// A process that is suspended, or dies, while it removes expired entries does not keep others from
// writing, or from removing them; and the clock does not go back behind a time that a reader has seen
// meanwhile.
func TestExpiry_RemoverStandsStill(t *testing.T) { // EX3, EX8
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for _, act := range []string{"stop", "kill"} {
		for _, point := range []string{"expire.claimed", "expire.removed", "expire.marked", "expire.settling"} {
			t.Run(act+" "+point, func(t *testing.T) {
				wall := spacetest.NewWall()
				s, m := leased(t, wall, 500, spacetest.WithoutBackground())
				r := spacetest.StartChild(t, "remover", append(spacetest.Env(s.Stats().Dir, 1, "", 1), "EVERHEAP_POINT="+point+":1:"+act)...)
				if act == "stop" {
					r.Await("standing still", r.Stopped)
				} else {
					r.Await("death", r.Gone)
				}
				// The child has published a time an hour ahead: for all processes that hour has passed.
				has := func(key int, want bool) {
					t.Helper()
					if has, err := m.Has(s, key); has != want || err != nil {
						t.Fatalf("%d is there: %v, %v", key, has, err)
					}
				}
				has(7, false)
				spacetest.Must(t, m.Set(s, 1000, lease{"7", wall.Now().Add(time.Minute)}))
				has(1000, false) // the mark is ahead, and stays there
				if act == "stop" {
					// While a process that settles is suspended, no other process settles: the first
					// could not see that the mark has changed and come back meanwhile.
					settles := point == "expire.marked" || point == "expire.settling"
					spacetest.RemoveExpired(t, s)
					spacetest.Must(t, m.Set(s, 1002, lease{"8", wall.Now().Add(time.Second)}))
					has(1002, !settles)
					_, err := m.Delete(s, 1002)
					spacetest.Must(t, err)
					r.Resume()
					r.AwaitLine("looked")
					has(1000, false)
				}
				spacetest.RemoveExpired(t, s)
				if n := spacetest.StoredEntries(t, s, "leases"); n != 0 {
					t.Fatalf("%d entries are left", n)
				}
				spacetest.Must(t, m.Set(s, 1001, lease{"7", wall.Now().Add(time.Minute)}))
				if act == "kill" { // otherwise the child may need a later time again
					has(1001, true)
				}
			})
		}
	}
}

// Processes that remove expired entries are killed at random: others remove the rest, and the entries
// seen always add up.
func TestExpiry_RemoverIsKilled(t *testing.T) { // EX4, EX8
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		wall := spacetest.NewWall()
		s, m := leased(t, wall, 30_000)
		for range 2 {
			c := spacetest.StartChild(t, "remover", spacetest.Env(s.Stats().Dir, 1, "", 1)...)
			c.AwaitLine("looked")
			left := uint64(r.IntN(20_000))
			spacetest.Wait(spacetest.Patience, func() bool { return spacetest.StoredEntries(t, s, "leases") <= left })
			c.Kill()
			if n, err := m.Len(s); n != 0 || err != nil {
				t.Fatal(n, err)
			}
			report, err := s.Check(context.Background())
			if err != nil || len(report.Findings) > 0 {
				t.Fatal(report.Findings, err)
			}
		}
		if !spacetest.Wait(spacetest.Patience, func() bool { return spacetest.StoredEntries(t, s, "leases") == 0 }) {
			t.Fatal("expired entries are not removed")
		}
	})
}
