package everheap

import (
	"context"
	"time"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/untyped"
)

// Stats describes a space at one moment. Sizes are bytes.
type Stats struct {
	Name    string // by which the space was opened
	Dir     string
	Created time.Time
	Base    uint64 // first address of the window
	Window  uint64 // size of the window: MaxSize can be raised up to this while the space is open
	MaxSize uint64 // maximum size of the heap file

	Version   Version   // the newest
	Committed time.Time // when it was committed
	Durable   Version   // the newest version that survives a power loss
	Anchored  Version   // the newest version from which a recovery would start
	Objects   uint64    // collections and types, the space's own included

	Live     uint64 // live set: blocks that the newest version can reach, headers and rounding included
	Used     uint64 // high-water mark of the heap file: its length up to the last block ever used
	File     uint64 // length of the heap file
	Disk     uint64 // what the files take on disk
	Journal  uint64 // of the journal that a recovery would read
	Reserved uint64 // set aside by the processes that have the space open, when they last counted
	Leaked   uint64 // estimate of what the next sweep frees: bytes that dead processes had set aside, and blocks of old versions

	// Free and Waiting are parts of what this process has set aside: free blocks,
	// and blocks that were freed and that an older version can still see. Both
	// are 0 while this process writes.
	Free, Waiting uint64

	Replica *ReplicaStats // nil: the space is not a replica

	Collected CollectStats // the last collection that this process has ended, in the background or not

	Processes int   // that have the space open
	Failed    bool  // a sync to disk failed: writes are refused, see ErrIO
	LastError error // of the background work, if any of it ever failed; else nil
	Closed    bool  // this handle is closed: only Name, Dir, Base and Window are filled in
}

// ReplicaStats is how far a replica is behind its leader: what the leader has said last (Replica.Hear) beside what is
// applied here. It is the same in all processes of the machine. Times are by the leader's clock.
type ReplicaStats struct {
	Known Version   // the leader's newest version; 0: no report since the space was opened
	Heard time.Time // when the leader reported it. If that is long ago, no copy leads, or no report arrives; zero: see Known

	LagVersions uint64 // how many versions are missing here
	// Lag is for how long at most one of them has been missing: since the leader had nothing that was missing here,
	// or since the newest version here was committed, whichever is later. 0: none is missing.
	Lag time.Duration
}

// Stats returns the statistics of the space. It waits for nobody.
func (s *Space) Stats() Stats {
	h := s.engine.Header()
	st := Stats{Name: s.name, Dir: s.engine.Dir(), Base: h.Base, Window: h.Window,
		Created: time.Unix(0, int64(h.Created)), Closed: s.closed.Load()}
	if st.Closed {
		return st
	}
	leader := s.engine.Changes.Heard() // read before the version: a version that arrives meanwhile is not missing
	e, err := s.engine.Status()
	if err != nil {
		st.Closed, st.LastError = s.engine.Closed(), err
		return st
	}
	st.Version, st.Committed, st.Anchored = Version(e.Version), e.Committed, Version(e.Anchored)
	st.Durable, st.Journal = Version(e.Durable), uint64(e.Journal)
	st.MaxSize = e.MaxSize
	st.Objects, st.Live, st.Used = e.Objects, uint64(e.Live), e.Carved
	st.File, st.Disk = uint64(e.File), uint64(e.Disk)
	st.Reserved, st.Leaked = uint64(e.Reserved), uint64(e.Leaked)
	st.Free, st.Waiting = uint64(e.Free), uint64(e.Waiting)
	if leader != nil {
		st.Replica = &ReplicaStats{Known: Version(leader.Known), Heard: leader.Heard}
		st.Replica.LagVersions, st.Replica.Lag = leader.Behind(e.Version, e.Committed)
	}
	st.Collected = collectStats(e.Collected)
	st.Processes, st.Failed, st.LastError = e.Processes, e.Failed, e.Failure
	return st
}

// Report is the outcome of Check.
type Report struct {
	Version  Version // that was checked: the newest when Check began
	Objects  uint64
	Entries  uint64 // of all collections, the space's own included, and single values
	Blocks   uint64
	Bytes    uint64 // of those blocks, headers and rounding included
	Free     uint64 // bytes listed as free, as far as the lists could be read
	Findings []Finding
}

// Finding is one piece of damage.
type Finding struct {
	File   string
	Offset int64 // of the block in the file; 0: no particular block
	Object ID    // of the block; 0: no particular object
	What   string
}

// Check verifies everything that the newest version can reach: the checksum of every block, every link, and every key
// and value against its type; that no list of free space has any of it; and what a recovery after a power loss needs:
// the header, the anchors with everything they lead to, and the records of the journal. Others continue to read and
// write. The report lists damage, including pages that the disk cannot deliver; an error says that the check could not
// be done. Check looks at ctx before it begins and at its end.
func (s *Space) Check(ctx context.Context) (Report, error) {
	var report Report
	if err := ctx.Err(); err != nil {
		return report, s.wrap("check", err)
	}
	err := s.inspect("check", func() error {
		r, err := s.engine.Check(ctx)
		if err == nil {
			report = s.report(r)
		}
		return err
	})
	return report, err
}

// report translates addresses to places in the file, and indexes to IDs.
func (s *Space) report(r *check.Report) Report {
	report := Report{Version: Version(r.Version), Objects: r.Objects, Entries: r.Entries,
		Blocks: uint64(r.Blocks), Bytes: uint64(r.Bytes), Free: uint64(r.Free)}
	for _, f := range r.Findings {
		file, offset := s.engine.Place(f)
		report.Findings = append(report.Findings, finding(file, offset, s.engine.Tag(), f.Object, f.What))
	}
	return report
}

// finding returns a finding about the object with an index, in a space with a tag.
func finding(file string, offset int64, tag uint16, object uint64, what string) Finding {
	f := Finding{File: file, Offset: offset, What: what}
	if object != 0 {
		f.Object = ID(format.MakeID(tag, object))
	}
	return f
}

// inspect runs fn unless the handle is closed.
func (s *Space) inspect(op string, fn func() error) error {
	return s.ifOpen(op, func() error { return s.engine.Inspect(fn) })
}

// ProcessInfo is a process that has a space open.
type ProcessInfo struct {
	PID      int       // as this process knows it; if Foreign, the number in the other PID namespace
	Foreign  bool      // it is in a PID namespace that this process cannot see: of a container, for instance
	Command  string    // name of the program
	Since    time.Time // when it opened the space
	Commits  uint64
	Reserved uint64 // bytes that it had set aside to write to when it last counted
	Writing  bool   // it is in an Update
	Stopped  bool   // it is suspended, as far as can be seen
	Self     bool   // it is this process
}

// Processes lists the processes that have the space open, by the time at which they opened it. If one of them is
// writing, the call takes a tenth of a second, to see whether that process moves.
func (s *Space) Processes() ([]ProcessInfo, error) {
	var list []ProcessInfo
	err := s.inspect("processes", func() error {
		members, err := s.engine.Members()
		for _, m := range members {
			list = append(list, ProcessInfo{PID: m.PID, Foreign: m.Foreign, Command: m.Command, Since: m.Started, Commits: m.Commits,
				Reserved: uint64(m.Reserved), Writing: m.Writing, Stopped: m.Stopped, Self: m.Self})
		}
		return err
	})
	return list, err
}

// ReaderInfo is a held version: by a View or an Update in progress, or while it is written to disk.
type ReaderInfo struct {
	PID     int
	Foreign bool // see ProcessInfo
	Command string
	Version Version
	Since   time.Time // to a tenth of a second
	Pins    uint64    // bytes that only this version and others that are held can still see
	Self    bool      // it is of this process
}

// Readers lists the held versions of the space, oldest first, with the process that holds each and the bytes it keeps
// from reuse. If any version but the newest is held, Readers reads everything that is held.
func (s *Space) Readers() ([]ReaderInfo, error) {
	var list []ReaderInfo
	err := s.inspect("readers", func() error {
		claims, err := s.engine.Claims()
		for _, c := range claims {
			list = append(list, ReaderInfo{PID: c.PID, Foreign: c.Foreign, Command: c.Command, Version: Version(c.Version),
				Since: c.Since, Pins: uint64(c.Pins), Self: c.Self})
		}
		return err
	})
	return list, err
}

// CollectionInfo is a collection, or a single value, that has a name.
type CollectionInfo struct {
	Name  string
	ID    ID
	Kind  string // map, sorted, list, or ref: a single value
	Key   string // types, in Go syntax; int for a list, "" for a single value
	Value string
	Len   uint64 // entries; 1 for a single value

	Indexes []IndexInfo // by name
	Expiry  string      // when entries expire, as "at Until" or "30m0s after it was set"; "": never
}

// Type returns the type of the collection in Go syntax: map[string]forum.User, sorted[string]forum.User, []forum.Post,
// or for a single value *forum.Config.
func (c CollectionInfo) Type() string {
	switch c.Kind {
	case "list":
		return "[]" + c.Value
	case "ref":
		return "*" + c.Value
	}
	return c.Kind + "[" + c.Key + "]" + c.Value
}

// Collections lists the named collections of the space, by name.
func (s *Space) Collections() (list []CollectionInfo, err error) {
	err = s.View(func(tx *Tx) (err error) { list, err = tx.Collections(); return err })
	return list, err
}

// Collections lists the named collections of the transaction's version, by name.
func (tx *Tx) Collections() ([]CollectionInfo, error) {
	described, err := untyped.Describe(&tx.engine.Editor)
	var list []CollectionInfo
	for _, d := range described {
		list = append(list, CollectionInfo{Name: d.Name, ID: ID(d.ID), Kind: d.Kind, Key: layout.TextOf(d.Key),
			Value: layout.TextOf(d.Value), Len: d.Count, Indexes: indexInfos(d.Indexes), Expiry: d.Expiry})
	}
	return list, tx.space.wrap("collections", err)
}

// SpaceInfo describes a space that need not be open. Sizes are bytes.
type SpaceInfo struct {
	Dir     string
	Created time.Time
	Base    uint64 // first address of the window
	Window  uint64 // size of the window
	MaxSize uint64 // as of the newest anchor on disk; 0: that cannot be read
	File    uint64 // length of the heap file
	Disk    uint64 // what the files take on disk
	Open    bool   // a process has the space open
}

// Describe describes the space in a directory without opening it. Errors: ErrNotFound, ErrCorrupt.
func Describe(dir string) (SpaceInfo, error) {
	o, dir, err := engine.Look(dir)
	if err != nil {
		return SpaceInfo{}, err
	}
	return SpaceInfo{Dir: dir, Created: o.Created, Base: o.Base, Window: o.Window, MaxSize: o.MaxSize,
		File: uint64(o.FileSize), Disk: uint64(o.Disk), Open: o.Open}, nil
}
