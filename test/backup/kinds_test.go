package backup

import (
	"context"
	"reflect"
	"sync"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
	"github.com/google/go-cmp/cmp"
)

// A checkpoint holds objects of all kinds, at all depths, and a restore brings them back.
func TestCheckpoint_AllKinds(t *testing.T) {
	s := spacetest.Scratch(t)
	w := spacetest.OpenWorld(t, s)
	w.Fill(t, s, 50)
	before := w.LookAt(t, s, "")
	if len(before) < 1000 {
		t.Fatalf("a world of %d things", len(before))
	}
	spacetest.Must(t, s.Checkpoint("before"))
	w.Upset(t, s)
	upset := w.LookAt(t, s, "")
	if cmp.Equal(before, upset) {
		t.Fatal("nothing has changed")
	}
	for range 3 { // blocks that are not held are reused
		spacetest.Must(t, spacetest.Sweep(s))
		w.Fill(t, s, 10)
	}
	spacetest.Agree(t, "the checkpoint", w.LookAt(t, s, "before"), before)
	spacetest.Must(t, s.Restore(context.Background(), "before"))
	spacetest.Agree(t, "after the restore", w.LookAt(t, s, ""), before)
	w.Upset(t, s)
	w.Fill(t, s, 10)
	spacetest.Agree(t, "the checkpoint after a restore", w.LookAt(t, s, "before"), before)
}

// A backup holds objects of all kinds, at all depths, with their IDs.
func TestBackup_AllKinds(t *testing.T) {
	s := spacetest.Scratch(t)
	w := spacetest.OpenWorld(t, s)
	w.Fill(t, s, 50)
	w.Upset(t, s)
	again := spacetest.Restored(t, spacetest.BackupOf(t, s))
	if spacetest.OpenWorld(t, again) != w {
		t.Error("a named object has another ID")
	}
	spacetest.Agree(t, "the restored space", w.LookAt(t, again, ""), w.LookAt(t, s, ""))
	w.Upset(t, again) // it can be written
	third := spacetest.Restored(t, spacetest.BackupOf(t, again))
	spacetest.Agree(t, "the backup of the restored space", w.LookAt(t, third, ""), w.LookAt(t, again, ""))
}

// Watchers of all kinds see the changes of a restore and the changes after it, so that in the end
// they agree with the space.
func TestWatch_RestoreOfAllKinds(t *testing.T) {
	s := spacetest.Scratch(t)
	w := spacetest.OpenWorld(t, s)
	w.Fill(t, s, 50)
	spacetest.Must(t, s.Checkpoint("before"))
	ctx, cancel := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	var folders spacetest.Mirror[string, spacetest.Folder]
	var ranks spacetest.Mirror[string, int]
	var log spacetest.Mirror[int, string]
	var root spacetest.Mirror[everheap.Ref[spacetest.Folder], spacetest.Folder]
	equal := func(a, b spacetest.Folder) bool { return reflect.DeepEqual(a, b) }
	loops.Go(func() {
		if err := spacetest.Follow(&folders, w.Folders.Watch(ctx, s, everheap.WithInitial()), equal, ignored[string, spacetest.Folder]); err != nil {
			t.Error("folders", err)
		}
	})
	loops.Go(func() {
		if err := spacetest.Follow(&ranks, w.Ranks.Watch(ctx, s, everheap.WithInitial()), spacetest.Alike, ignored[string, int]); err != nil {
			t.Error("ranks", err)
		}
	})
	loops.Go(func() {
		if err := spacetest.Follow(&log, w.Log.Watch(ctx, s, everheap.WithInitial()), spacetest.Alike, ignored[int, string]); err != nil {
			t.Error("log", err)
		}
	})
	loops.Go(func() {
		if err := spacetest.Follow(&root, w.Root.Watch(ctx, s, everheap.WithInitial()), equal, ignored[everheap.Ref[spacetest.Folder], spacetest.Folder]); err != nil {
			t.Error("root", err)
		}
	})
	come := func(what string) {
		t.Helper()
		lacks := ""
		if !spacetest.Wait(spacetest.Patience, func() bool {
			lacks = ""
			spacetest.View(t, s, func(tx *everheap.Tx) error {
				if !spacetest.Mirrored(&folders, w.Folders.All(tx), equal) {
					lacks += " folders"
				}
				if !spacetest.Mirrored(&ranks, w.Ranks.All(tx), spacetest.Alike) {
					lacks += " ranks"
				}
				if !spacetest.Mirrored(&log, w.Log.All(tx), spacetest.Alike) {
					lacks += " log"
				}
				if !spacetest.Mirrored(&root, func(yield func(everheap.Ref[spacetest.Folder], *spacetest.Folder) bool) {
					yield(w.Root, w.Root.Peek(tx))
				}, equal) {
					lacks += " root"
				}
				return nil
			})
			return lacks == ""
		}) {
			t.Errorf("%s: the watchers have other%s", what, lacks)
		}
	}
	come("at first")
	w.Upset(t, s)
	come("changed")
	spacetest.Must(t, s.Restore(context.Background(), "before"))
	come("restored")
	w.Upset(t, s)
	spacetest.Must(t, s.Restore(context.Background(), "before")) // the watchers may see it at once
	w.Fill(t, s, 60)
	spacetest.Must(t, spacetest.Sweep(s))
	come("at last")
	cancel()
	spacetest.Within(t, spacetest.Patience, "the end of the loops", loops.Wait)
}

func ignored[K comparable, V any](map[K]V) error { return nil }
