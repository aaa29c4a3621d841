package replica

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/registry"
)

// Errors.
var (
	// ErrFenced: another copy leads. The space was made a replica.
	ErrFenced = errors.New("another copy leads")
	// ErrLeads: this copy leads already, or the leader is alive and was not stopped.
	ErrLeads = errors.New("the leader is alive")
	// ErrBehind: the copy lacks versions that others have, so it must not lead.
	ErrBehind = errors.New("the copy lacks changes")
	// ErrUnknown: it is unknown whether the log is part of the space's history.
	ErrUnknown = errors.New("the log does not lead to this space")
	// ErrInUse: another process of this machine leads or follows with this space.
	ErrInUse = errors.New("another process replicates this space")
)

// Options say how a space is replicated. The zero value of every field but Stream is useful.
type Options struct {
	Stream string // name of the space for all copies: letters, digits, - and _; required
	Copy   string // name of this copy; by default the host's name
	Lead   string // what writers to a replica are told about this copy when it leads; by default Copy

	StateDir string // directory for the memory of the copy, and for tails; by default beside the space

	Replicas int   // how many JetStream servers keep the log, when it is created; by default 1
	Keep     int64 // bytes of frames that the space keeps for the log; see everheap.Space.Subscribe
	// ConfirmAfter is how long the space keeps frames that JetStream has acknowledged, if Keep
	// suffices. It should be longer than JetStream's sync_interval; by default 5 minutes.
	ConfirmAfter time.Duration

	// SnapshotBytes is the number of bytes of frames after which the leader makes a snapshot; by
	// default 64 MiB. It is never less than the size of the newest snapshot.
	SnapshotBytes int64
	Snapshots     int // how many snapshots are kept; by default 2

	Lease time.Duration // how long a leader may be silent before another copy may claim; by default 10 s
	// PromoteAfter lets a follower claim by itself when the leader has been silent for so long; at
	// least Lease. 0: never.
	PromoteAfter time.Duration
	Force        bool // Lead claims the log even if it is unknown whether the log is part of the space's history

	Open     []everheap.Option // for the space of a follower
	Log      *slog.Logger      // for events; by default slog.Default
	OnStatus func(Status)      // called about once a second, for metrics

	batch   int // bytes in one message, in tests
	deliver func(message) []message

	named bool // Log has the names of the stream and the copy
}

// Defaults.
const (
	defaultConfirmAfter  = 5 * time.Minute
	defaultSnapshotBytes = 64 << 20
	defaultSnapshots     = 2
	defaultLease         = 10 * time.Second
)

// complete sets the defaults, and verifies the other fields.
func (o Options) complete(dir string) (Options, error) {
	if err := checkWord("stream", o.Stream, 20); err != nil {
		return o, err
	}
	if o.Copy == "" {
		host, err := os.Hostname()
		if err != nil {
			return o, fmt.Errorf("replica: the host has no name, and Options.Copy is empty: %w", err)
		}
		o.Copy, _, _ = strings.Cut(host, ".")
	}
	if err := checkWord("copy", o.Copy, 32); err != nil {
		return o, err
	}
	if o.Lead == "" {
		o.Lead = o.Copy
	}
	if o.StateDir == "" {
		o.StateDir = strings.TrimRight(dir, "/") + ".replica"
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if !o.named { // Run calls complete before Lead and Follow do
		o.Log, o.named = o.Log.With("stream", o.Stream, "copy", o.Copy), true
	}
	setDefault(&o.Replicas, 1)
	setDefault(&o.ConfirmAfter, defaultConfirmAfter)
	setDefault(&o.SnapshotBytes, defaultSnapshotBytes)
	setDefault(&o.Snapshots, defaultSnapshots)
	setDefault(&o.Lease, defaultLease)
	setDefault(&o.batch, 256<<10)
	if o.PromoteAfter > 0 && o.PromoteAfter < o.Lease {
		return o, fmt.Errorf("replica: PromoteAfter %v is shorter than the lease of %v", o.PromoteAfter, o.Lease)
	}
	return o, nil
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// checkWord refuses a name that JetStream does not accept in names and subjects.
func checkWord(what, word string, most int) error {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
	}
	if word == "" || len(word) > most || strings.ContainsFunc(word, func(r rune) bool { return !ok(r) }) {
		return fmt.Errorf("replica: the name %q of the %s must have 1 to %d letters, digits, hyphens and underscores", word, what, most)
	}
	return nil
}

// dirOf returns the directory of a space, which need not exist.
func dirOf(name string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		return filepath.Abs(name)
	}
	home, err := registry.Home()
	if err != nil {
		return "", err
	}
	r := registry.Open(home)
	e, ok, err := r.Lookup(name)
	if err != nil || !ok {
		return r.DefaultDir(name), err
	}
	return e.Dir, nil
}
