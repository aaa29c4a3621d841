package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/everheap/everheap"
)

// checkerChild is a process that only verifies: every block, every value, the acknowledged
// transactions of each owner, and that all checkpoints exist.
func checkerChild() int {
	w := newWorker()
	r := w.random(0)
	for !w.ended.Load() {
		var options []everheap.Option
		if r.IntN(3) == 0 {
			options = append(options, everheap.WithReadOnly())
		}
		s, err := w.open(options...)
		if err != nil {
			w.fail("open", err)
		}
		for i := 0; i < 10 && !w.ended.Load(); i++ {
			if err := w.compareLedgers(s); err != nil {
				w.fail("audit", err)
			}
			if err := check(s.Space); err != nil {
				w.fail("check", err)
			}
			if err := w.compareCheckpoints(s); err != nil {
				w.fail("checkpoints", err)
			}
			w.log("checked: %d files on disk, %d live", s.Stats().Disk, s.Stats().Live)
			time.Sleep(time.Duration(r.IntN(600)) * time.Millisecond)
		}
		if err := s.Close(); err != nil {
			w.fail("close", err)
		}
	}
	return 0
}

// compareLedgers audits the newest version, and compares it with the transactions that each owner
// knew to be committed before.
func (w *worker) compareLedgers(s *session) error {
	known := map[uint32]acked{}
	files, err := os.ReadDir(filepath.Join(w.Dir, "ledger"))
	if err != nil {
		return err
	}
	ledgers := map[uint32]*ledger{}
	for _, f := range files {
		var owner uint32
		if _, err := fmt.Sscan(f.Name(), &owner); err != nil {
			return err
		}
		if ledgers[owner], err = openLedger(w.Dir, owner); err != nil {
			return err
		}
		defer ledgers[owner].file.Close()
		known[owner] = ledgers[owner].note
	}
	var sum summary
	err = s.View(func(tx *everheap.Tx) (err error) { sum, err = s.audit(tx); return err })
	if err != nil {
		return err
	}
	for owner, note := range known {
		seq := sum.Seqs[owner]
		attempted, err := ledgers[owner].read(attemptedAt)
		if err != nil {
			return err
		}
		if seq < note.Seq && !w.restores.allow(owner, seq, note.Began) || seq > attempted.Seq {
			return fmt.Errorf("version %d: owner %d: transaction %d had returned, the highest attempted is %d, and the last one in the space is %d", sum.Version, owner, note.Seq, attempted.Seq, seq)
		}
	}
	return nil
}

// compareCheckpoints verifies that all checkpoints exist that were made, except those that a process
// has begun to drop.
func (w *worker) compareCheckpoints(s *session) error {
	made, err := os.ReadDir(filepath.Join(w.Dir, "made"))
	if err != nil {
		return err
	}
	list, err := s.Checkpoints()
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, c := range list {
		there[c.Name] = true
	}
	for _, f := range made {
		if there[f.Name()] {
			continue
		}
		if _, err := os.Stat(filepath.Join(w.Dir, "dropped", f.Name())); err != nil {
			return fmt.Errorf("the checkpoint %s was made and not dropped, and is not there", f.Name())
		}
		os.Remove(filepath.Join(w.Dir, "made", f.Name()))
	}
	return nil
}
