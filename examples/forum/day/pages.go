package day

import (
	"bytes"
	"fmt"
	"sync"
	"time"
)

// Pages is what was measured of one page.
type Pages struct {
	Rate float64 // pages a second
	Kind
	Size int // bytes
}

// Measure gets one page again and again for a time, over so many connections.
func Measure(address, path string, connections int, length time.Duration) (Pages, error) {
	took := make([][]time.Duration, connections)
	sizes, errs := make([]int, connections), make([]error, connections)
	began := time.Now()
	end := began.Add(length)
	var all sync.WaitGroup
	for i := range connections {
		all.Go(func() {
			c := client{address: address}
			defer c.close()
			for {
				start := time.Now()
				if start.After(end) {
					return
				}
				a, err := c.get(path)
				if err != nil || a.status != 200 || !bytes.HasSuffix(a.body, []byte("</html>\n")) {
					errs[i] = fmt.Errorf("GET %s: status %d, %d bytes: %v", path, a.status, len(a.body), err)
					return
				}
				took[i], sizes[i] = append(took[i], time.Since(start)), len(a.body)
			}
		})
	}
	all.Wait()
	real := time.Since(began)
	var list []time.Duration
	for i := range took {
		if errs[i] != nil {
			return Pages{}, errs[i]
		}
		list = append(list, took[i]...)
	}
	k := summary(list)
	return Pages{float64(k.Count) / real.Seconds(), k, sizes[0]}, nil
}
