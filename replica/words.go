package replica

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Status says how a copy does. Copies leave it in the key-value store.
type Status struct {
	Copy    string
	Role    string // lead or follow
	Lead    string // who leads, as far as the copy knows
	Term    uint64 // of what it has
	Version uint64 // lead: the newest of the space; follow: the newest applied
	// Durable is what is safe: lead: what JetStream has acknowledged; follow: what is on disk.
	Durable uint64
	Chain   uint64 `json:",string"` // of Durable
	// LagVersions is how many versions a follower is behind the leader (everheap.ReplicaStats), or
	// the log behind the leader's space.
	LagVersions uint64
	Lag         time.Duration // of a follower, the same
	Rebuilt     int           // how often the follower has begun anew with a snapshot
	Resent      int           // how often the leader has sent again what JetStream had lost
	Snapshots   int           // how many it has made
	Problem     string        // why it does not go on at the moment
	Time        time.Time     // when it said so, by its clock
}

// lease is the word of who leads: that it is alive.
type lease struct {
	Copy    string
	Token   string
	Term    uint64
	Version uint64 // its newest
	Time    time.Time
}

const (
	leaseKey   = "lease"
	copyPrefix = "copy."
)

// say leaves a word.
func (s *store) say(ctx context.Context, key string, word any) error {
	b, err := json.Marshal(word)
	if err == nil {
		_, err = s.words.Put(ctx, key, b)
	}
	return err
}

// leased returns the lease and its revision; 0: there is none.
func (s *store) leased(ctx context.Context) (l lease, revision uint64, err error) {
	e, err := s.words.Get(ctx, leaseKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return l, 0, nil
	}
	if err != nil {
		return l, 0, err
	}
	return l, e.Revision(), json.Unmarshal(e.Value(), &l)
}

// copies returns what the copies have said last, by name.
func (s *store) copies(ctx context.Context) (all []Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, quietAtMost) // JS11: as store.prune does
	defer cancel()
	keys, err := s.words.Keys(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrNoKeysFound) {
		return nil, err
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, copyPrefix) {
			continue
		}
		e, err := s.words.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var st Status
		if err := json.Unmarshal(e.Value(), &st); err != nil {
			return nil, err
		}
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Copy, b.Copy) })
	return all, nil
}

// ack is what a follower says to the leader when versions are on its disk.
type ack struct {
	Copy    string
	Version uint64
	Chain   uint64 `json:",string"`
}
