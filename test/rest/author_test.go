package rest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/everheap/everheap"
)

// An author writes its own entries, each by a durable commit. The space has the last few of them, and
// the number of the newest, which determines the expected entries.
type author struct {
	id, size int
	space    *everheap.Space
	entries  everheap.Map[string, string]
	seq      int // of the newest entry
}

// kept is the number of entries of an author.
const kept = 20

// newAuthor opens the collections of an author, and reads the number of its newest entry.
func newAuthor(s *everheap.Space, id, size int) (*author, error) {
	m, err := everheap.OpenMap[string, string](s, "entries")
	if err != nil {
		return nil, err
	}
	a := &author{id: id, size: size, space: s, entries: m}
	return a, a.look()
}

// look reads the number of the author's newest entry.
func (a *author) look() error {
	text, err := a.entries.Get(a.space, fmt.Sprint(a.id))
	if errors.Is(err, everheap.ErrNotFound) {
		text, err = "0", nil
	}
	if err == nil {
		a.seq, err = strconv.Atoi(text)
	}
	return err
}

// text returns an entry.
func (a *author) text(seq int) string {
	head := fmt.Sprintf("%d by %d ", seq, a.id)
	return head + strings.Repeat(string(rune('a'+seq%26)), max(1, a.size+seq*7%100-len(head)))
}

// write commits the next entry, which is durable when it returns. A process that was suspended may
// have to repeat it.
func (a *author) write() error {
	for {
		next := a.seq + 1
		err := a.space.Update(context.Background(), func(tx *everheap.Tx) error {
			if err := a.entries.Set(tx, fmt.Sprint(a.id), fmt.Sprint(next)); err != nil {
				return err
			}
			return a.entries.Set(tx, fmt.Sprintf("%d/%d", a.id, next%kept), a.text(next))
		}, everheap.Durable)
		if err == nil {
			a.seq = next
			return nil
		}
		if !errors.Is(err, everheap.ErrSuspended) && !errors.Is(err, everheap.ErrBusy) {
			return err
		}
		if err := a.look(); err != nil {
			return err
		}
	}
}

// verify fails the test unless the entries up to an acknowledged one are there.
func (a *author) verify(t testing.TB, acked int) {
	t.Helper()
	must(t, a.look())
	if a.seq < acked {
		t.Errorf("author %d: entry %d was acknowledged as durable, and the newest one is %d", a.id, acked, a.seq)
	}
	for seq := max(1, a.seq-kept+1); seq <= a.seq; seq++ {
		if got, err := a.entries.Get(a.space, fmt.Sprintf("%d/%d", a.id, seq%kept)); err != nil || got != a.text(seq) {
			t.Errorf("author %d: entry %d of %d is %.40q (%v)", a.id, seq, a.seq, got, err)
		}
	}
}

func init() { children["author"] = authorChild }

// authorChild is an author in a process of its own. It executes commands, one after the other, and
// reports each.
func authorChild(dir string, args []string) error {
	id, _ := strconv.Atoi(args[0])
	size, _ := strconv.Atoi(args[1])
	s, err := everheap.Open(dir, everheap.WithMaxSize(window))
	if err != nil {
		return err
	}
	a, err := newAuthor(s, id, size)
	if err != nil {
		return err
	}
	say("ready")
	for line := range lines() {
		if err := a.obey(strings.Fields(line)); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
		if line == "close" {
			return nil
		}
	}
	return nil
}

// obey executes a command.
func (a *author) obey(words []string) error {
	switch words[0] {
	case "write": // so many entries
		n, _ := strconv.Atoi(words[1])
		for range n {
			if err := a.write(); err != nil {
				return err
			}
			say("acked", a.seq)
		}
	case "go": // write until the next command, and compact the space now and then
		for len(lines()) == 0 {
			if err := a.write(); err != nil {
				return err
			}
			say("acked", a.seq)
			if a.seq%40 == 0 {
				if _, err := a.space.Compact(context.Background()); err != nil && !errors.Is(err, everheap.ErrBusy) && !errors.Is(err, everheap.ErrSuspended) {
					return err
				}
			}
		}
	case "compact":
		if _, err := a.space.Compact(context.Background()); err != nil {
			return err
		}
	case "close":
		if err := a.space.Close(); err != nil {
			return err
		}
	}
	say("done", words[0])
	return nil
}
