package rest

import (
	"context"
	"flag"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/everheap/everheap"
)

var mebibytes = flag.Int("rest.mib", 64, "what TestHeap_Large holds at first, in MiB")

// A hoard is a map whose entries follow from their keys, so that the remaining ones can be verified.
type hoard struct {
	space   *everheap.Space
	entries everheap.Map[int, string]
	there   map[int]int // by key: how often it was written
}

// textOf returns the value of an entry that was written a number of times.
func textOf(key, times int) string {
	return strings.Repeat(string(rune('a'+(key+times)%26)), 400+(key*31+times*7)%1200)
}

// inBatches calls fn for the keys, some hundred to a transaction.
func (h *hoard) inBatches(t *testing.T, keys []int, fn func(tx *everheap.Tx, key int) error) {
	t.Helper()
	for len(keys) > 0 {
		n := min(500, len(keys))
		must(t, h.space.Update(context.Background(), func(tx *everheap.Tx) error {
			for _, key := range keys[:n] {
				if err := fn(tx, key); err != nil {
					return err
				}
			}
			return nil
		}))
		keys = keys[n:]
	}
}

// write writes new or existing entries.
func (h *hoard) write(t *testing.T, keys []int) {
	t.Helper()
	h.inBatches(t, keys, func(tx *everheap.Tx, key int) error {
		return h.entries.Set(tx, key, textOf(key, h.there[key]+1))
	})
	for _, key := range keys {
		h.there[key]++
	}
}

// leave deletes entries at random, and keeps one of one.
func (h *hoard) leave(t *testing.T, r *rand.Rand, one int) {
	t.Helper()
	var gone []int
	for key := range h.there {
		if r.IntN(one) != 0 {
			gone = append(gone, key)
		}
	}
	h.inBatches(t, gone, func(tx *everheap.Tx, key int) error {
		_, err := h.entries.Delete(tx, key)
		return err
	})
	for _, key := range gone {
		delete(h.there, key)
	}
}

// some returns n of the keys, at random.
func (h *hoard) some(r *rand.Rand, n int) (keys []int) {
	for key := range h.there {
		if keys = append(keys, key); len(keys) == n {
			break
		}
	}
	r.Shuffle(len(keys), func(i, k int) { keys[i], keys[k] = keys[k], keys[i] })
	return keys
}

// verify fails the test unless exactly the remaining entries are there.
func (h *hoard) verify(t *testing.T) {
	t.Helper()
	must(t, h.space.View(func(tx *everheap.Tx) error {
		if n, err := h.entries.Len(tx); err != nil || n != len(h.there) {
			t.Errorf("there are %d entries of %d (%v)", n, len(h.there), err)
		}
		for key, times := range h.there {
			if v := h.entries.Peek(tx, key); v == nil || *v != textOf(key, times) {
				t.Fatalf("entry %d has changed", key)
			}
		}
		return nil
	}))
}

// Once it is at rest, a large space takes no more of the disk for its contents than a small one does,
// whatever was deleted, and whichever processes were killed or suspended in a transaction meanwhile.
func TestHeap_Large(t *testing.T) { // H1
	if testing.Short() {
		t.Skip("it writes much, for long")
	}
	t.Parallel()
	dir := newDir(t)
	s, err := everheap.Open(dir, everheap.WithMaxSize(uint64(*mebibytes)<<24))
	must(t, err)
	defer s.Close()
	m, err := everheap.OpenMap[int, string](s, "large")
	must(t, err)
	h := &hoard{s, m, map[int]int{}}
	r := rand.New(rand.NewPCG(*seedFlag, 12))
	keys := make([]int, *mebibytes<<10)
	for i := range keys {
		keys[i] = i
	}
	h.write(t, keys)
	rests := func(when string) {
		t.Helper()
		_, before := length(t, dir, "heap")
		disk, journal := before, int64(0)
		look := func() bool {
			_, disk = length(t, dir, "heap")
			_, journal = length(t, dir, "journal")
			return disk <= most(s) && journal <= 2*segment
		}
		wait(look)
		atPeace(t, s, dir, func() bool { return looks(s) })
		rested := look()
		live := int64(s.Stats().Live)
		t.Logf("%s: %d MiB live; the heap took %d MiB, and takes %d MiB (%.2f of live) at rest, the journal %d MiB", when, live>>20, before>>20, disk>>20, float64(disk)/float64(live), journal>>20)
		if !rested {
			t.Errorf("%s: at rest the heap takes %d bytes of the disk, and the journal %d, for %d that are live", when, disk, journal, live)
		}
		h.verify(t)
	}
	rests("after filling")
	for round, one := range []int{3, 4, 8} {
		sleeper := start(t, "hoarder", dir, "", round)
		sleeper.hear("full")
		sleeper.stop() // no sweep can begin
		for id := range 4 {
			p := start(t, "hoarder", dir, "", id)
			p.hear("full")
			p.kill()
			h.write(t, h.some(r, len(h.there)/8))
		}
		h.leave(t, r, one)
		if round%2 == 0 {
			sleeper.resume()
			sleeper.tell("end")
		} else {
			sleeper.kill()
		}
		rests("after deleting")
	}
	whole(t, s)
	must(t, s.Close())
	s, err = everheap.Open(dir)
	must(t, err)
	defer s.Close()
	short(t, s, dir)
	h.space = s
	if h.entries, err = everheap.OpenMap[int, string](s, "large"); err != nil {
		t.Fatal(err)
	}
	h.verify(t)
}
