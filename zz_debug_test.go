package everheap_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
)

func TestZZ(t *testing.T) {
	for _, par := range []int{1, 4} {
		dir := filepath.Join(t.TempDir(), fmt.Sprint("s", par))
		s := open(t, dir)
		m := mapOf[uint64, record](t, s)
		fillRecords(t, s, m, 1000, 1)
		for i := range 8 {
			var all sync.WaitGroup
			for p := range par {
				c := startChild(t, "visitor", env(dir, i, fmt.Sprint(200/par), uint64(i*10+p))...)
				all.Go(func() { c.await("its end", c.gone) })
			}
			all.Wait()
			st := s.Stats()
			t.Logf("par %d: used %.1f live %.1f reserved %.1f leaked %.1f", par, float64(st.Used)/1e6, float64(st.Live)/1e6, float64(st.Reserved)/1e6, float64(st.Leaked)/1e6)
		}
		n, err := s.Engine().Sweep()
		t.Log(float64(n)/1e6, err)
	}
}
