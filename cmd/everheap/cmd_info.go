package main

import (
	"cmp"
	"fmt"
	"io"
	"time"

	"github.com/everheap/everheap"
)

// infoCmd shows the contents and the state of a space.
type infoCmd struct {
	spaceArg
	JSON bool `name:"json" help:"Print JSON."`
}

// spaceInfo is a space, in the form that info prints.
type spaceInfo struct {
	Dir       string    `json:"dir"`
	Created   time.Time `json:"created"`
	Base      string    `json:"base"`
	Window    uint64    `json:"window"`
	MaxSize   uint64    `json:"max_size"`
	Version   uint64    `json:"version"`
	Committed time.Time `json:"committed"`
	Durable   uint64    `json:"durable"`
	Anchored  uint64    `json:"anchored"`
	Objects   uint64    `json:"objects"`
	Live      uint64    `json:"live"`
	Used      uint64    `json:"used"`
	File      uint64    `json:"file"`
	Disk      uint64    `json:"disk"`
	Journal   uint64    `json:"journal"`
	Reserved  uint64    `json:"reserved"`
	Leaked    uint64    `json:"leaked"`
	Processes int       `json:"processes"` // without this one
	Failed    bool      `json:"failed"`
	Maps      []mapInfo `json:"maps"`

	Replica *replicaInfo `json:"replica,omitempty"`
}

// replicaInfo is how far a replica is behind its leader, in the form that info prints.
type replicaInfo struct {
	Leader      string    `json:"leader"`
	Known       uint64    `json:"known"` // 0: no report from the leader
	Heard       time.Time `json:"heard"`
	LagVersions uint64    `json:"lag_versions"`
	LagMillis   float64   `json:"lag_ms"`
}

// mapInfo is a collection or a single value, in the form that info prints.
type mapInfo struct {
	Name  text   `json:"name"`
	Kind  string `json:"kind"`
	Key   string `json:"key"`
	Value string `json:"value"`
	Len   uint64 `json:"len"`

	Indexes []indexInfo `json:"indexes,omitempty"`
	Expiry  string      `json:"expiry,omitempty"`
}

// Run implements the verb.
func (c *infoCmd) Run(std *streams) error {
	return c.read(std, func(s *everheap.Space) error {
		st := s.Stats()
		info := spaceInfo{Dir: st.Dir, Created: st.Created.UTC(), Base: fmt.Sprintf("%#x", st.Base), Window: st.Window, MaxSize: st.MaxSize,
			Version: uint64(st.Version), Committed: st.Committed.UTC(), Durable: uint64(st.Durable), Anchored: uint64(st.Anchored), Journal: st.Journal, Objects: st.Objects,
			Live: st.Live, Used: st.Used, File: st.File, Disk: st.Disk, Reserved: st.Reserved, Leaked: st.Leaked,
			Processes: st.Processes - 1, Failed: st.Failed, Maps: []mapInfo{}}
		if r := st.Replica; r != nil {
			lead, _, err := s.Leader()
			if err != nil {
				return err
			}
			info.Replica = &replicaInfo{lead, uint64(r.Known), r.Heard.UTC(), r.LagVersions, r.Lag.Seconds() * 1000}
		}
		maps, err := s.Collections()
		if err != nil {
			return err
		}
		for _, m := range maps {
			info.Maps = append(info.Maps, mapInfo{text(m.Name), m.Kind, m.Key, m.Value, m.Len, indexInfos(m.Indexes), m.Expiry})
		}
		if c.JSON {
			return printJSON(std.out, info)
		}
		info.print(std.out)
		return nil
	})
}

// print writes the space for people.
func (i *spaceInfo) print(w io.Writer) {
	field := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-11s%s\n", name, fmt.Sprintf(format, args...))
	}
	field("directory", "%s", i.Dir)
	field("created", "%s", i.Created.Local().Format("2006-01-02 15:04:05"))
	field("window", "%s at %s", size(i.Window), i.Base)
	field("grows to", "%s at the most; everheap resize changes that", size(i.MaxSize))
	field("version", "%d, committed %s ago; safe from power loss: %s", i.Version, since(i.Committed), i.safe())
	field("holds", "%s in %s", size(i.Live), plural(i.Objects, "object"))
	field("on disk", "%s; %s of the heap were ever used", size(i.Disk), size(i.Used))
	field("set aside", "%s by the processes that have it open; a sweep would find %s more", size(i.Reserved), size(i.Leaked))
	if i.Replica != nil {
		field("replica", "%s", i.Replica.text())
	}
	field("open in", "%s", plural(uint64(max(i.Processes, 0)), "other process"))
	if i.Failed {
		field("FAILED", "a sync to disk failed: nothing can be written until all close the space")
	}
	fmt.Fprintln(w)
	printMaps(w, i.Maps)
}

// text says how far a replica is behind.
func (r *replicaInfo) text() string {
	switch leads := "of " + cmp.Or(r.Leader, "a leader without a name"); {
	case r.Known == 0:
		return leads + "; nothing was heard of that so far"
	case r.LagVersions == 0:
		return fmt.Sprintf("%s, heard of %s ago; nothing is missing", leads, since(r.Heard))
	default:
		return fmt.Sprintf("%s, heard of %s ago; %s missing, for %.0f ms at most", leads, since(r.Heard), plural(r.LagVersions, "version"), r.LagMillis)
	}
}

// safe says which part of the history survives a power loss.
func (i *spaceInfo) safe() string {
	if i.Durable >= i.Version {
		return "all"
	}
	return fmt.Sprintf("to version %d", i.Durable)
}

// printMaps lists collections and single values.
func printMaps(w io.Writer, maps []mapInfo) {
	if len(maps) == 0 {
		fmt.Fprintln(w, "nothing has a name")
		return
	}
	t := newTable("NAME", "KIND", ">ENTRIES", "KEY", "VALUE")
	for _, m := range maps {
		t.add(string(m.Name), m.Kind, count(m.Len), m.Key, m.Value)
	}
	t.print(w, "")
	x := newTable("INDEX OF", "NAME", ">ENTRIES", "FIELDS", "")
	indexes := 0
	for _, m := range maps {
		for _, i := range m.Indexes {
			x.add(string(m.Name), string(i.Name), count(i.Len), i.Fields, i.kind())
			indexes++
		}
	}
	if indexes > 0 {
		fmt.Fprintln(w)
		x.print(w, "")
	}
	for _, m := range maps {
		if m.Expiry != "" {
			fmt.Fprintf(w, "\nthe entries of %s expire %s\n", m.Name, m.Expiry)
		}
	}
}
