package micro

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
	"golang.org/x/sys/unix"
)

// Recovery of a space with a million entries and a journal that is nearly as long
// as it gets before the background writes an anchor: from the start of Open to the first value
// read. The space is left by SIGKILL, and then without its live file, as after a power loss.
func BenchmarkRecovery_FullJournal(b *testing.B) {
	const entries, most = 1_000_000, 62 << 20
	dir := filepath.Join(b.TempDir(), "s")
	writer := spacetest.StartChild(b, "recovery", "EVERHEAP_DIR="+dir, fmt.Sprint("EVERHEAP_ENTRIES=", entries), fmt.Sprint("EVERHEAP_JOURNAL=", most))
	if !spacetest.Wait(5*time.Minute, func() bool { return writer.Heard("full") == 1 || writer.Gone() }) {
		b.Fatal("the journal did not fill")
	}
	writer.Kill()
	var records, bytes float64
	fmt.Sscan(writer.Rest("full "), &records, &bytes)
	for b.Loop() {
		b.StopTimer()
		copied := filepath.Join(b.TempDir(), "s")
		spacetest.Must(b, os.CopyFS(copied, os.DirFS(dir)))
		spacetest.Must(b, os.Remove(filepath.Join(copied, "live")))
		unix.Sync() // the files are on disk, as after a power loss
		b.StartTimer()
		began := time.Now()
		s, err := everheap.Open(copied)
		spacetest.Must(b, err)
		m, err := everheap.OpenMap[string, account](s, "accounts")
		spacetest.Must(b, err)
		_, err = m.Get(s, accountKey(1))
		spacetest.Must(b, err)
		b.ReportMetric(time.Since(began).Seconds(), "s/first-read")
		b.StopTimer()
		spacetest.Must(b, s.Close())
		b.StartTimer()
	}
	b.ReportMetric(records, "records")
	b.ReportMetric(bytes/(1<<20), "MiB")
}

func init() { spacetest.Children["recovery"] = recoveryChild }

// recoveryChild fills a space, and then writes until the journal is long.
func recoveryChild() int {
	var entries int
	var most uint64
	fmt.Sscan(os.Getenv("EVERHEAP_ENTRIES"), &entries)
	fmt.Sscan(os.Getenv("EVERHEAP_JOURNAL"), &most)
	s, err := everheap.Open(os.Getenv("EVERHEAP_DIR"), everheap.WithMaxSize(4<<30), spacetest.WithAnchorInterval(time.Hour))
	if err != nil {
		return spacetest.Failed("open", err)
	}
	m, err := everheap.OpenMap[string, account](s, "accounts")
	if err != nil {
		return spacetest.Failed("open", err)
	}
	for i := 0; i < entries && err == nil; i += 1000 {
		err = s.Update(context.Background(), func(tx *everheap.Tx) error {
			for j := i; j < i+1000; j++ {
				if err := m.Set(tx, accountKey(j), accountOf(j)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err == nil {
		err = spacetest.Engine(s).Anchor(true)
	}
	records := 0
	for ; err == nil && (records%1000 != 0 || s.Stats().Journal < most); records++ {
		k := records * 7919 % entries
		err = m.Set(s, accountKey(k), accountOf(k+1))
	}
	if err == nil {
		err = s.Sync(context.Background())
	}
	if err != nil {
		return spacetest.Failed("set", err)
	}
	spacetest.Say("full", records, s.Stats().Journal)
	select {}
}
