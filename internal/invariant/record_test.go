//go:build invariants && linux

package invariant

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// subject creates a directory with a heap file, like that of a space.
func subject(t *testing.T) Subject {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "heap"), []byte("heap"), 0o600); err != nil {
		t.Fatal(err)
	}
	return subjectIn(t, dir)
}

// subjectIn is the space in a directory.
func subjectIn(t *testing.T, dir string) Subject {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, "heap"))
	if err != nil {
		t.Fatal(err)
	}
	return Subject{Dir: dir, Heap: info, Space: [16]byte{1, 2, 3}, Salt: 77, Joined: func() uint64 { return 0 }}
}

// joined opens the record of a space as an incarnation.
func joined(t *testing.T, s Subject, incarnation uint64) Record {
	t.Helper()
	r := OpenRecord(s)
	if r.record == nil {
		t.Fatal("there is no record")
	}
	t.Cleanup(func() { os.Remove(recordPath(s.Heap)) })
	r.Join()
	r.Own(incarnation, func(uint64) bool { return false })
	return r
}

// dumped returns the events of a space, as lines.
func dumped(t *testing.T, s Subject) []string {
	t.Helper()
	var b bytes.Buffer
	if err := DumpEventsOf(s.Dir, &b); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func init() {
	if dir := os.Getenv("EVERHEAP_RECORD_CHILD"); dir != "" {
		childNotes(dir)
	}
}

// childNotes notes events in turns with the parent process, and is killed then.
func childNotes(dir string) {
	info, err := os.Stat(filepath.Join(dir, "heap"))
	if err != nil {
		panic(err)
	}
	r := OpenRecord(Subject{Dir: dir, Heap: info, Space: [16]byte{1, 2, 3}, Salt: 77, Joined: func() uint64 { return 0 }})
	r.Join()
	r.Own(2<<9|1, func(uint64) bool { return true })
	for i := uint64(0); ; i++ {
		fmt.Scanln()
		r.Note(Epoch, 0, 100+i, 0)
		fmt.Println("noted")
	}
}

// DumpEvents writes the events of several processes in order, even after one of them was killed.
func TestDumpEvents_OfAllProcessesInOrder(t *testing.T) {
	s := subject(t)
	r := joined(t, s, 1<<9)
	defer r.Close()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(executable)
	child.Env = append(os.Environ(), "EVERHEAP_RECORD_CHILD="+s.Dir)
	child.Stderr = os.Stderr
	in, _ := child.StdinPipe()
	out, _ := child.StdoutPipe()
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 50 {
		r.Note(Epoch, 0, uint64(i), 0)
		fmt.Fprintln(in)
		fmt.Fscanln(out, new(string))
		want = append(want, fmt.Sprintf("to %d,", i), fmt.Sprintf("to %d,", 100+i))
	}
	if err := child.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	var got []string
	for _, line := range dumped(t, s) {
		if strings.Contains(line, "raises") {
			got = append(got, line)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i, w := range want {
		if !strings.Contains(got[i], w) {
			t.Errorf("event %d: %s, want %s", i, got[i], w)
		}
	}
	var here bytes.Buffer
	if err := DumpEvents(&here); err != nil || strings.Count(here.String(), "raises") != len(want) {
		t.Errorf("the events of the spaces that this process has open: %v\n%s", err, here.String())
	}
}

// A ring has the last 10,000 events, and a reader gets each of them whole, even while the owner notes more.
func TestRecord_KeepsTheLastEvents(t *testing.T) { // D7
	s := subject(t)
	r := joined(t, s, 1<<9)
	defer r.Close()
	const n = 3*ringEvents + 1234
	var noting sync.WaitGroup
	noting.Go(func() {
		for i := range uint64(n) {
			r.Note(Took, i<<4, i, i)
		}
	})
	look := func() (list []noted) {
		list = r.readRing(r.ringIndex())
		for _, e := range list {
			if e.event == Took && (e.at != e.a<<4 || e.a != e.b || e.n != e.a+1) {
				t.Fatalf("event %d is torn: %+v", e.n, e)
			}
		}
		return list
	}
	for range 20 {
		look()
	}
	noting.Wait()
	if list := look(); len(list) != ringEvents || list[len(list)-1].a != n-1 {
		t.Errorf("%d events, the last is %+v", len(list), list[len(list)-1])
	}
}

// Each live incarnation keeps its ring; a new one takes the oldest ring of the dead.
func TestRecord_UsesTheOldestRingOfTheDead(t *testing.T) { // D6
	s := subject(t)
	alive := func(i uint64) bool { return i != 3 && i != 7 && i != 50 }
	rings := map[int][]uint64{}
	for i := uint64(1); i <= manyRings+40; i++ {
		r := OpenRecord(s)
		defer r.Close()
		r.Own(i, alive)
		if r.row == nil {
			t.Fatalf("no ring for incarnation %d", i)
		}
		ring := r.ringIndex()
		rings[ring] = append(rings[ring], i)
	}
	t.Cleanup(func() { os.Remove(recordPath(s.Heap)) })
	again := map[uint64]uint64{}
	for _, list := range rings {
		for i, incarnation := range list[1:] {
			again[list[i]] = incarnation
		}
	}
	if want := map[uint64]uint64{3: manyRings + 1, 7: manyRings + 2, 50: manyRings + 3}; !maps.Equal(again, want) {
		t.Errorf("the incarnations took the rings %v, want %v", again, want)
	}
}

// Under another live file no owner is known. After a process without the tag has joined, the
// ledger asserts nothing until there is another live file.
func TestRecord_BeginsAnew(t *testing.T) { // D3, D4
	s := subject(t)
	count := uint64(0)
	s.Joined = func() uint64 { return count }
	known := func(r Record) bool { return r.Block(300, 2000).Load() != 0 }
	r := joined(t, s, 1<<9)
	count++
	r.Block(300, 2000).Store(uint64(MakeOwner(Free, 1<<9, 1)))
	r.Extent(300).Store(uint64(MakeOwner(Blocks, 3, 1)))
	r.Close()

	r = OpenRecord(s)
	if r.Strangers(count) || !known(r) {
		t.Error("the ledger has forgotten owners")
	}
	count++ // a process has joined and has not counted itself in the record
	if !r.Strangers(count) || r.Asserts() || r.Block(300, 2000) != nil {
		t.Error("the ledger asserts beside a stranger")
	}
	r.Close()
	r = OpenRecord(s)
	if r.Asserts() {
		t.Error("the ledger asserts after a stranger")
	}
	r.Close()

	s.Salt++
	r = OpenRecord(s)
	defer r.Close()
	if !r.Asserts() || r.Strangers(count) || known(r) {
		t.Error("the ledger does not begin again under another live file")
	}
	r.Block(300, 2000).Store(1)
	Distrust(s.Dir)
	if r.Asserts() || r.Block(300, 2000) != nil || r.Extent(1) != nil {
		t.Error("the ledger asserts although the space was damaged on purpose")
	}
	s.Salt++
	r = OpenRecord(s)
	defer r.Close()
	if r.Asserts() {
		t.Error("another live file ends the distrust of a damaged space")
	}
}

// Joined may panic because live was truncated: then OpenRecord closes the record.
func TestOpenRecord_PanicOfJoined(t *testing.T) {
	inUse := func() (n int) {
		open.Range(func(any, any) bool { n++; return true })
		return n
	}
	s, before := subject(t), inUse()
	s.Joined = func() uint64 { panic("cut") }
	func() {
		defer func() { _ = recover() }()
		OpenRecord(s)
		t.Error("no panic")
	}()
	if n := inUse(); n != before {
		t.Errorf("%d records in use, want %d", n, before)
	}
}

// The record of a space that is gone is removed, unless a process uses it.
func TestRecord_IsRemovedWithItsSpace(t *testing.T) { // D5
	gone, used := subject(t), subject(t)
	joined(t, gone, 1).Close()
	r := joined(t, used, 1)
	defer r.Close()
	for _, s := range []Subject{gone, used} {
		if err := os.RemoveAll(s.Dir); err != nil {
			t.Fatal(err)
		}
	}
	made.Store(0)
	forgetRecords(recordDir())
	if _, err := os.Stat(recordPath(gone.Heap)); !os.IsNotExist(err) {
		t.Errorf("the record of a space that is gone: %v", err)
	}
	if _, err := os.Stat(recordPath(used.Heap)); err != nil {
		t.Errorf("the record that is used: %v", err)
	}
}

// A failed assertion prints the last events of its address.
func TestAssertAt_TellsTheEventsOfTheAddress(t *testing.T) {
	s := subject(t)
	r := joined(t, s, 5<<9|3)
	defer r.Close()
	from, to := MakeOwner(Free, 5<<9|3, 9), MakeOwner(Taken, 5<<9|3, 9)
	r.Note(Took, 0x7000, Change(from, to), 32)
	r.Note(Took, 0x8000, Change(from, to), 32)
	r.Note(Freed, 0x7000, Change(to, from), 32)
	defer func() {
		text := fmt.Sprint(recover())
		for _, want := range []string{"it was free", "at 0x7000", "taken 0x7000: free of 5/3 -> in the transaction of 5/3, 32 bytes", "freed 0x7000"} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is missing in: %s", want, text)
			}
		}
		if strings.Contains(text, "0x8000") {
			t.Errorf("the message has events of another address: %s", text)
		}
	}()
	r.AssertAt(false, 0x7000, "it was free")
}
