package inspect

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/inside"
	"github.com/everheap/everheap/internal/watch"
)

// checkpoint is a checkpoint in the list.
type checkpoint struct {
	Name      string  `json:"name"`
	Version   uint64  `json:"version"`
	Created   int64   `json:"created"`
	Committed int64   `json:"committed"`
	Exclusive *uint64 `json:"exclusive"` // bytes that only this checkpoint keeps; null: not counted yet
}

// kept has the last counts of the bytes that checkpoints keep.
type kept struct {
	mu    sync.Mutex
	bytes map[keptBy]uint64
	at    time.Time
	took  time.Duration
}

// keptBy identifies a checkpoint by name and version, since a new checkpoint may have the name of a
// dropped one.
type keptBy struct {
	name    string
	version uint64
}

// checkpoints lists the checkpoints, and the newest version. Counting the bytes that each keeps takes
// a walk over all of them, so it is done at a pace (IN5).
func (sp *space) checkpoints(ctx context.Context, _ *query) (any, error) {
	st := sp.Stats()
	answer := struct {
		Version   uint64       `json:"version"`
		Committed int64        `json:"committed"`
		Created   int64        `json:"created"`
		Durable   uint64       `json:"durable"`
		Anchored  uint64       `json:"anchored"`
		List      []checkpoint `json:"list"`
	}{uint64(st.Version), st.Committed.UnixMilli(), st.Created.UnixMilli(), uint64(st.Durable), uint64(st.Anchored), []checkpoint{}}
	err := sp.View(func(tx *everheap.Tx) error {
		keeper := &inside.Engine(sp.Space).Checkpoints
		pins, err := keeper.Pins(inside.Editor(tx).State)
		if err != nil {
			return err
		}
		for _, p := range pins {
			if p.Restore != 0 {
				continue // a temporary checkpoint of the library itself
			}
			state, err := keeper.State(p)
			if err != nil {
				return err
			}
			ms := func(nanoseconds uint64) int64 { return int64(nanoseconds / 1e6) }
			answer.List = append(answer.List, checkpoint{p.NameOf(), p.Version, ms(p.Created), ms(state.UnixNano), nil})
		}
		return nil
	})
	if err != nil || len(answer.List) == 0 {
		return answer, err
	}
	sp.kept.mu.Lock()
	defer sp.kept.mu.Unlock()
	if time.Since(sp.kept.at) >= pace(sp.kept.took) {
		if err := sp.walk(ctx, sp.countKept); err != nil {
			return nil, err
		}
	}
	for i := range answer.List {
		c := &answer.List[i]
		if n, ok := sp.kept.bytes[keptBy{c.Name, c.Version}]; ok {
			c.Exclusive = &n
		}
	}
	return answer, nil
}

// countKept counts the bytes that checkpoints keep.
func (sp *space) countKept() error {
	began := time.Now()
	list, err := sp.Checkpoints()
	if err != nil {
		return err
	}
	sp.kept.at = time.Now()
	sp.kept.took = sp.kept.at.Sub(began)
	sp.kept.bytes = map[keptBy]uint64{}
	for _, c := range list {
		sp.kept.bytes[keptBy{c.Name, uint64(c.Version)}] = c.Exclusive
	}
	return nil
}

// Limits of a comparison: the entries it lists, the entries it counts, and its time.
const (
	mostChanges = 500
	mostCounted = 200_000
	compareFor  = 3 * time.Second
	shortChange = 4 << 10
)

// changed is an entry that differs.
type changed struct {
	Key string `json:"key,omitempty"`
	Was string `json:"was,omitempty"`
	Now string `json:"now,omitempty"`
}

// compared is the difference between a collection and its past version.
type compared struct {
	ID      hexID     `json:"id"`
	Name    string    `json:"name"`
	Kind    string    `json:"kind"`
	State   string    `json:"state"` // same, changed, added, removed, or other if the types differ
	Was     uint64    `json:"was"`   // entries
	Now     uint64    `json:"now"`
	Added   int       `json:"added"`
	Changed int       `json:"changed"`
	Removed int       `json:"removed"`
	Stopped bool      `json:"stopped,omitempty"` // the comparison was cut
	List    []changed `json:"list,omitempty"`
}

// changes compares a checkpoint with the newest version: all collections that have names, or the one
// with an ID, whose differing entries it lists. Blocks that both versions share cost nothing.
func (sp *space) changes(ctx context.Context, q *query) (any, error) {
	if q.at == "" {
		return nil, bad("compare with which checkpoint?")
	}
	answer := struct {
		At      string      `json:"at"`
		Was     uint64      `json:"was"`
		Version uint64      `json:"version"`
		List    []*compared `json:"list"`
	}{At: q.at, List: []*compared{}}
	err := sp.walk(ctx, func() error {
		return sp.ViewAt(q.at, func(was *everheap.Tx) error {
			return sp.View(func(now *everheap.Tx) error {
				answer.Was, answer.Version = uint64(was.Version()), uint64(now.Version())
				list, err := pairs(was, now, q.id)
				if err != nil {
					return err
				}
				end := time.Now().Add(compareFor)
				for _, c := range list {
					if err := c.compare(was, now, q.id != 0, end); err != nil {
						return err
					}
				}
				answer.List = list
				return nil
			})
		})
	})
	return answer, err
}

// pairs lists the collections of two versions, by name.
func pairs(was, now *everheap.Tx, only everheap.ID) ([]*compared, error) {
	before, err := was.Collections()
	if err != nil {
		return nil, err
	}
	after, err := now.Collections()
	if err != nil {
		return nil, err
	}
	byID := map[everheap.ID]*compared{}
	list := []*compared{}
	get := func(c everheap.CollectionInfo) *compared {
		if byID[c.ID] == nil {
			byID[c.ID] = &compared{ID: hexID(c.ID), Name: c.Name, Kind: c.Kind}
			list = append(list, byID[c.ID])
		}
		return byID[c.ID]
	}
	for _, c := range after {
		p := get(c)
		p.Now, p.State = c.Len, "added"
	}
	for _, c := range before {
		p := get(c)
		if p.Was = c.Len; p.State == "added" {
			p.State = "same"
		} else {
			p.State = "removed"
		}
	}
	if only != 0 {
		if byID[only] == nil {
			return nil, &problem{Text: "neither version has the collection by name", status: http.StatusNotFound}
		}
		return []*compared{byID[only]}, nil
	}
	return list, nil
}

// compare finds the differing entries, up to the limits.
func (c *compared) compare(was, now *everheap.Tx, list bool, end time.Time) error {
	if c.State != "same" {
		return nil
	}
	old, err := open(was, everheap.ID(c.ID))
	if err != nil {
		return err
	}
	of, err := open(now, everheap.ID(c.ID))
	if err != nil {
		return err
	}
	if old.of.Kind != of.of.Kind || old.of.Value.String() != of.of.Value.String() {
		c.State = "other"
		return nil
	}
	subject := of.of.StoredOf
	at := time.Now().UnixNano()
	n := 0
	var failed error
	err = watch.Compare(subject, inside.Editor(was), inside.Editor(now), edit.Instants{Was: at, Now: at}, func(d *watch.Difference) bool {
		if n++; n > mostCounted || n%256 == 0 && time.Now().After(end) {
			c.Stopped = true
			return false
		}
		failed = c.add(d, list)
		return failed == nil
	})
	if c.Added+c.Changed+c.Removed > 0 {
		c.State = "changed"
	}
	if err == nil {
		err = failed
	}
	return err
}

// add counts a difference, and lists it if the list is not full.
func (c *compared) add(d *watch.Difference, list bool) error {
	switch {
	case d.Was.Pointer == nil:
		c.Added++
	case d.Now.Pointer == nil:
		c.Removed++
	default:
		c.Changed++
	}
	if !list || len(c.List) >= mostChanges {
		return nil
	}
	key, was, now, err := d.Encoded(false)
	if err != nil {
		return err
	}
	if len(key) > shortKey {
		key = nil
	}
	c.List = append(c.List, changed{string(key), short(was), short(now)})
	return nil
}

// short returns a value, or the beginning of a long value.
func short(b []byte) string {
	if len(b) > shortChange {
		return beginning(b)
	}
	return string(b)
}

// makeCheckpoint pins the newest version under a name.
func makeCheckpoint(_ context.Context, sp *space, c *change) (any, error) {
	return written{}, sp.Checkpoint(c.Name)
}

// dropCheckpoint drops a checkpoint.
func dropCheckpoint(_ context.Context, sp *space, c *change) (any, error) {
	return written{}, sp.DropCheckpoint(c.Name)
}

// restoreCheckpoint restores a checkpoint.
func restoreCheckpoint(ctx context.Context, sp *space, c *change) (any, error) {
	return written{}, sp.Restore(ctx, c.Name)
}
