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

// Status is the state of a copy. Copies publish it in the key-value store.
type Status struct {
	Copy    string
	Role    string // lead or follow
	Lead    string // the leader, as far as the copy knows
	Term    uint64 // of its newest version
	Version uint64 // lead: the newest version of the space; follow: the newest applied version
	// Durable is the newest safe version: for a leader acknowledged by JetStream, for a follower on
	// disk.
	Durable uint64
	Chain   uint64 `json:",string"` // of Durable
	// LagVersions is how many versions a follower is behind the leader (everheap.ReplicaStats), or
	// the log behind the leader's space.
	LagVersions uint64
	Lag         time.Duration // of a follower, the same
	Rebuilt     int           // how often the follower has begun anew with a snapshot
	Resent      int           // how often the leader has sent lost messages again
	Snapshots   int           // snapshots made
	Problem     string        // why the copy makes no progress at the moment
	Time        time.Time     // when the copy published it, by its clock
}

// lease is the leader's report that it is alive.
type lease struct {
	Copy    string
	Token   string
	Term    uint64
	Version uint64 // newest version of the leader
	Time    time.Time
}

const (
	leaseKey   = "lease"
	copyPrefix = "copy."
)

// say publishes a report in the key-value store.
func (s *store) say(ctx context.Context, key string, word any) error {
	b, err := json.Marshal(word)
	if err == nil {
		_, err = s.words.Put(ctx, key, b)
	}
	return err
}

// leased returns the lease and its revision; revision 0: there is no lease.
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

// copies returns the last reports of the copies, by name.
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

// ack is a follower's message to the leader that versions are on its disk.
type ack struct {
	Copy    string
	Version uint64
	Chain   uint64 `json:",string"`
}
