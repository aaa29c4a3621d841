package engine

import (
	"bytes"
	"io"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap/internal/format"
)

// A backup can be made of any version that a View holds, such as a checkpoint. The restored space
// does not reuse IDs that the original has given out since.
func TestBackup_OfACheckpoint(t *testing.T) {
	sp, id := begin(t, filepath.Join(t.TempDir(), "s"))
	for key := range uint64(300) {
		store(t, sp, id, key+1, key+1000)
	}
	if err := sp.Checkpoints.Add("then", false); err != nil {
		t.Fatal(err)
	}
	var later format.ID
	err := sp.Change(false, func(tx *Tx) (err error) {
		later, err = tx.NewMap(words(0))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for key := range uint64(300) {
		store(t, sp, id, key+1, 7)
	}
	tx, err := sp.ViewAt("then")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := tx.Backup(&b); err != nil {
		t.Fatal(err)
	}
	tx.EndView()
	verify(t, sp)
	dir := filepath.Join(t.TempDir(), "restored")
	if err := Restore(dir, &b, Options{}, nil); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer verify(t, again)
	for key := range uint64(300) {
		if v := load(t, again, id, key+1); v != key+1000 {
			t.Fatalf("key %d is %d", key+1, v)
		}
	}
	err = again.Change(false, func(tx *Tx) error {
		next, err := tx.NewMap(words(0))
		if next.Index() <= later.Index() {
			t.Errorf("the next map has index %d, one of the original had %d", next.Index(), later.Index())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestBackup_OfATransactionThatWrites(t *testing.T) {
	sp, _ := begin(t, filepath.Join(t.TempDir(), "s"))
	defer verify(t, sp)
	err := sp.Change(false, func(tx *Tx) error { return tx.Backup(io.Discard) })
	if err == nil {
		t.Error("Backup of an uncommitted transaction: no error")
	}
	tx, err := sp.View()
	if err != nil {
		t.Fatal(err)
	}
	tx.EndView()
	if err := tx.Backup(io.Discard); err == nil {
		t.Error("Backup of a transaction that has ended: no error")
	}
}
