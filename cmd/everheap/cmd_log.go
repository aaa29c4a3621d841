package main

// The verbs that show every version of a space, and who keeps them.

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/everheap/everheap"
)

// logCmd prints versions.
type logCmd struct {
	Space  string `arg:"" help:"Registered name or directory of the space; or a file with frames."`
	Since  uint64 `help:"Begin after this version; without it, with the oldest one that is kept for a subscription, or with --follow after the newest one." placeholder:"VERSION"`
	Follow bool   `short:"f" help:"Go on with each new version, until interrupted."`
	JSON   bool   `name:"json" help:"Print JSON lines."`
	Frames bool   `help:"Write the frames themselves, one after the other: for a program that applies or keeps them."`
	Count  int    `help:"End after N versions." placeholder:"N"`
}

// Run implements the verb.
func (c *logCmd) Run(ctx context.Context, std *streams) error {
	if c.Frames && isTerminal(std.out) {
		return errors.New("frames cannot be written to a terminal; redirect the output")
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if info, err := os.Stat(c.Space); err == nil && info.Mode().IsRegular() {
		if _, err := (spaceArg{c.Space}).dir(); err != nil { // else a space has the name
			return c.file(std)
		}
	}
	err := spaceArg{c.Space}.read(std, func(s *everheap.Space) error { return c.print(ctx, s, std) })
	if err != nil && ctx.Err() != nil {
		return &exitError{exitInterrupted, nil}
	}
	return err
}

// print prints the versions.
func (c *logCmd) print(ctx context.Context, s *everheap.Space, std *streams) error {
	last := s.Stats().Durable
	since, err := c.from(s, last)
	if err != nil {
		return err
	}
	if since >= last && !c.Follow {
		fmt.Fprintf(std.err, "nothing since version %d, the newest durable one; --since VERSION shows older ones that happen to be there still, --follow newer ones\n", since)
		return nil
	}
	n := 0
	for f, err := range s.ChangesSince(ctx, since) {
		if err == nil {
			err = c.one(s, f, std)
		}
		if n++; err != nil || c.Count == n || !c.Follow && f.Version() >= last {
			return err
		}
	}
	return nil
}

// file prints the versions of a file with frames: a segment of what was shipped, what log --frames has
// written, or what a replica has put aside.
func (c *logCmd) file(std *streams) error {
	f, err := os.Open(c.Space)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for n := 0; c.Count == 0 || n < c.Count; {
		frame, err := everheap.ReadFrame(r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s, after %s: %w", c.Space, plural(uint64(n), "frame"), err)
		}
		if uint64(frame.Version()) <= c.Since {
			continue
		}
		if err := c.one(nil, frame, std); err != nil {
			return err
		}
		n++
	}
	return nil
}

// from returns the version to begin after.
func (c *logCmd) from(s *everheap.Space, newest everheap.Version) (everheap.Version, error) {
	if c.Since != 0 || c.Follow {
		if c.Since == 0 {
			return newest, nil
		}
		return everheap.Version(c.Since), nil
	}
	list, err := s.Subscriptions()
	if err != nil {
		return 0, err
	}
	oldest := newest
	for _, u := range list {
		if !u.Lost {
			oldest = min(oldest, u.Version)
		}
	}
	if len(list) == 0 {
		return 0, errors.New("the space keeps no versions for anybody; give --since VERSION for what happens to be there still, or --follow; everheap ship and replicas keep them")
	}
	return oldest, nil
}

// loggedVersion is a version, as log shows it.
type loggedVersion struct {
	Version everheap.Version `json:"version"`
	Time    time.Time        `json:"time"`
	Bytes   int              `json:"bytes"`
	Changes []loggedChange   `json:"changes"`
}

// loggedChange is what became of one object.
type loggedChange struct {
	Collection string `json:"collection,omitempty"`
	Object     string `json:"object,omitempty"`
	What       string `json:"what"`
	Count      int    `json:"count"`
	Name       string `json:"name,omitempty"`
}

// one prints one version.
func (c *logCmd) one(s *everheap.Space, f everheap.Frame, std *streams) error {
	if c.Frames {
		_, err := std.out.Write(f.Bytes())
		return err
	}
	list, err := f.Changes()
	if err != nil {
		return err
	}
	v := loggedVersion{f.Version(), f.Time().UTC(), len(f.Bytes()), []loggedChange{}}
	names := map[everheap.ID]string{}
	if s != nil {
		if names, err = namesOf(s); err != nil {
			return err
		}
	}
	for _, x := range list {
		l := loggedChange{What: x.What, Count: x.Count, Name: x.Name, Collection: names[x.Object]}
		if x.Object != 0 {
			l.Object = fmt.Sprintf("%016x", uint64(x.Object))
		}
		v.Changes = append(v.Changes, l)
	}
	if c.JSON {
		e := json.NewEncoder(std.out)
		e.SetEscapeHTML(false)
		return e.Encode(v)
	}
	_, err = fmt.Fprintf(std.out, "%d  %s  %s\n", v.Version, v.Time.Format("2006-01-02 15:04:05.0"), v.text())
	return err
}

// text says for people what a version changes.
func (v *loggedVersion) text() string {
	const most = 6
	var parts []string
	for i, c := range v.Changes {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %s more", plural(uint64(len(v.Changes)-most), "change")))
			break
		}
		what := c.What
		if c.Name != "" {
			what += fmt.Sprintf(" %q", c.Name)
		}
		if c.Count > 1 {
			what += fmt.Sprintf(" %d", c.Count)
		}
		switch {
		case c.Collection != "" && c.Collection != c.Name:
			what = c.Collection + ": " + what
		case c.Collection == "" && c.Object != "" && c.Name == "":
			what = "object " + strings.TrimLeft(c.Object[4:], "0") + ": " + what
		}
		parts = append(parts, what)
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, "; ")
}

// namesOf returns the names that lead to objects now.
func namesOf(s *everheap.Space) (map[everheap.ID]string, error) {
	list, err := s.Collections()
	names := map[everheap.ID]string{}
	for _, c := range list {
		names[c.ID] = c.Name
	}
	return names, err
}

// subscriptionsCmd lists subscriptions, or drops one.
type subscriptionsCmd struct {
	spaceArg
	Drop string `help:"Drop the subscription of this name: its owner begins again with a snapshot." placeholder:"NAME"`
	JSON bool   `name:"json" help:"Print JSON."`
}

// subscription is one, as it is shown.
type subscription struct {
	Name    string           `json:"name"`
	Version everheap.Version `json:"version"`
	Behind  uint64           `json:"behind"`
	Lost    bool             `json:"lost"`
	Kept    int64            `json:"kept"`
	Keep    int64            `json:"keep"`
}

// Run implements the verb.
func (c *subscriptionsCmd) Run(std *streams) error {
	if c.Drop != "" {
		return c.with(func(s *everheap.Space) error { return s.DropSubscription(c.Drop) })
	}
	return c.read(std, func(s *everheap.Space) error {
		list, err := s.Subscriptions()
		if err != nil {
			return err
		}
		newest := s.Stats().Version
		shown := []subscription{}
		for _, u := range list {
			shown = append(shown, subscription{u.Name, u.Version, uint64(newest - min(newest, u.Version)), u.Lost, u.Kept, u.Keep})
		}
		if c.JSON {
			return printJSON(std.out, shown)
		}
		return printSubscriptions(std, shown)
	})
}

// printSubscriptions prints a table for people.
func printSubscriptions(std *streams, list []subscription) error {
	if len(list) == 0 {
		fmt.Fprintln(std.out, "there are no subscriptions")
		return nil
	}
	t := newTable("NAME", ">VERSION", ">BEHIND", ">KEPT", ">MAY KEEP")
	for _, u := range list {
		version, behind := count(uint64(u.Version)), count(u.Behind)
		if u.Lost {
			version, behind = "lost", "too far"
		}
		t.add(u.Name, version, behind, size(uint64(u.Kept)), size(uint64(u.Keep)))
	}
	t.print(std.out, "")
	return nil
}
