package main

// The verbs that show every version of a space, and the subscriptions that keep them.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"unicode/utf8"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/ship"
)

// logCmd prints versions.
type logCmd struct {
	Space  string `arg:"" help:"Registered name or directory of the space; or a file with frames; or the directory that everheap ship has kept up to date."`
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
		if _, err := (spaceArg{c.Space}).dir(); err != nil { // otherwise the argument names a space
			return c.file(std)
		}
	}
	if isShipped(c.Space) {
		return c.shipped(std)
	}
	err := spaceArg{c.Space}.read(std, func(s *everheap.Space) error { return c.print(ctx, s, std) })
	if err != nil && ctx.Err() != nil {
		return &exitError{exitInterrupted, nil}
	}
	return err
}

// print prints the versions of a space.
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
	told := everheap.NewFrameReader(s)
	out := bufio.NewWriter(std.out)
	defer out.Flush()
	for f, err := range s.ChangesSince(ctx, since) {
		if err == nil {
			err = c.one(told, f, out)
		}
		if err == nil && c.Follow {
			err = out.Flush()
		}
		if n++; err != nil || c.Count == n || !c.Follow && f.Version() >= last {
			return err
		}
	}
	return nil
}

// shipped prints the versions in a directory of everheap ship.
func (c *logCmd) shipped(std *streams) error {
	if c.Follow {
		return fmt.Errorf("--follow needs the space; %s is a directory that it was shipped to", c.Space)
	}
	told, frames, err := ship.History(c.Space, everheap.Version(c.Since))
	if err != nil {
		return err
	}
	out := bufio.NewWriter(std.out)
	defer out.Flush()
	n := 0
	for f, err := range frames {
		if err == nil {
			err = c.one(told, f, out)
		}
		if n++; err != nil || n == c.Count {
			return err
		}
	}
	return nil
}

// file prints the versions in a file of frames: a segment of everheap ship, the output of log
// --frames, or a tail that a replica has put aside.
func (c *logCmd) file(std *streams) error {
	f, err := os.Open(c.Space)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	told := everheap.NewFrameReader(nil)
	out := bufio.NewWriter(std.out)
	defer out.Flush()
	for n := 0; c.Count == 0 || n < c.Count; {
		frame, err := everheap.ReadFrame(r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s, after %s: %w", c.Space, plural(uint64(n), "frame"), err)
		}
		if uint64(frame.Version()) <= c.Since {
			for _, err := range told.Changes(frame) { // the frame may create objects that later frames change
				if err != nil {
					return err
				}
			}
			continue
		}
		if err := c.one(told, frame, out); err != nil {
			return err
		}
		n++
	}
	return nil
}

// from returns the version after which the log begins.
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
		return 0, errors.New("the space keeps no versions, as it has no subscriptions (everheap ship and replicas make them); give --since VERSION for versions that happen to be there still, or --follow")
	}
	return oldest, nil
}

// loggedChange is one change, in the form of log --json.
type loggedChange struct {
	Collection string          `json:"collection,omitempty"`
	Object     string          `json:"object,omitempty"`
	What       string          `json:"what"`
	Name       string          `json:"name,omitempty"`
	Count      int             `json:"count"`
	Key        json.RawMessage `json:"key,omitempty"`
	Value      json.RawMessage `json:"value,omitempty"`
	Bytes      int             `json:"bytes"`
}

const (
	mostLogged = 100 // changes of a version, as text
	mostShown  = 80  // characters of a key or value, as text
)

// one prints one version.
func (c *logCmd) one(r *everheap.FrameReader, f everheap.Frame, out *bufio.Writer) error {
	if c.Frames {
		_, err := out.Write(f.Bytes())
		return err
	}
	if c.JSON {
		return jsonVersion(r, f, out)
	}
	fmt.Fprintf(out, "%d  %s  ", f.Version(), f.Time().UTC().Format("2006-01-02 15:04:05.0"))
	n, first := 0, ""
	for x, err := range r.Changes(f) {
		if err != nil {
			return err
		}
		switch n++; {
		case n == 1: // print one change beside the version, several below it
			first = changeText(&x)
			continue
		case n == 2:
			fmt.Fprintf(out, "several changes\n        %s\n", first)
		}
		if n <= mostLogged {
			fmt.Fprintf(out, "        %s\n", changeText(&x))
		}
	}
	switch {
	case n == 0:
		fmt.Fprintln(out, "nothing")
	case n == 1:
		fmt.Fprintln(out, first)
	case n > mostLogged:
		fmt.Fprintf(out, "        and %s more; --json prints them all\n", plural(uint64(n-mostLogged), "change"))
	}
	return nil
}

// jsonVersion prints one version as JSON, change by change: a version may have very many changes.
func jsonVersion(r *everheap.FrameReader, f everheap.Frame, out *bufio.Writer) error {
	t, err := f.Time().UTC().MarshalJSON()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, `{"version":%d,"time":%s,"bytes":%d,"changes":[`, f.Version(), t, len(f.Bytes()))
	comma := ""
	for x, err := range r.Changes(f) {
		if err != nil {
			return err
		}
		l := loggedChange{Collection: x.Collection, What: x.What, Name: x.Name, Count: x.Count, Key: x.Key, Value: x.Value, Bytes: x.Size}
		if x.Object != 0 {
			l.Object = fmt.Sprintf("%016x", uint64(x.Object))
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(l); err != nil {
			return err
		}
		out.WriteString(comma)
		out.Write(bytes.TrimSpace(b.Bytes()))
		comma = ","
	}
	_, err = out.WriteString("]}\n")
	return err
}

// changeText describes one change for people.
func changeText(x *everheap.EntryChange) string {
	what := x.What
	if x.Name != "" {
		what += fmt.Sprintf(" %q", x.Name)
	}
	if x.Count > 1 {
		what += fmt.Sprintf(" %d", x.Count)
	}
	if x.Key != nil {
		what += " " + shown(x.Key)
	}
	switch {
	case x.Value != nil && x.Key != nil:
		what += " = " + shown(x.Value)
	case x.Value != nil:
		what += " " + shown(x.Value)
	case !x.Known && x.Size > 0 && x.Name == "":
		what += fmt.Sprintf(", %s", plural(uint64(x.Size), "byte"))
	}
	switch {
	case x.Collection != "" && x.Collection != x.Name:
		return x.Collection + ": " + what
	case x.Collection == "" && x.Object != 0 && x.Name == "":
		return fmt.Sprintf("object %x: %s", uint64(x.Object)&(1<<48-1), what)
	}
	return what
}

// shown shortens a key or a value.
func shown(b []byte) string {
	if utf8.RuneCount(b) <= mostShown {
		return string(b)
	}
	r := []rune(string(b[:min(len(b), 4*mostShown)]))
	return string(r[:mostShown-1]) + "…"
}

// subscriptionsCmd lists subscriptions, or drops one.
type subscriptionsCmd struct {
	spaceArg
	Drop string `help:"Drop the subscription of this name: its owner begins again with a snapshot." placeholder:"NAME"`
	JSON bool   `name:"json" help:"Print JSON."`
}

// subscription is a subscription, in the form that the verb prints.
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
