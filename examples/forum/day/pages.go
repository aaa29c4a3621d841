package day

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/everheap/everheap/examples/forum/site"
)

// Pages is what was measured of one page.
type Pages struct {
	Rate float64 // pages a second
	Kind
	Size           int           // bytes
	Server, Client time.Duration // of processor, a page: of all servers together, and of this process
}

// Measure gets one page again and again for a time, over so many connections. It runs on the machine
// of the servers: it asks the system what they have used.
func Measure(address, path string, connections int, length time.Duration) (Pages, error) {
	servers, err := serversOf(address)
	if err != nil {
		return Pages{}, err
	}
	before, own := processor(servers...), processor(os.Getpid())
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
	n := time.Duration(k.Count)
	return Pages{float64(k.Count) / real.Seconds(), k, sizes[0], (processor(servers...) - before) / n, (processor(os.Getpid()) - own) / n}, nil
}

// serversOf returns the processes that serve a site.
func serversOf(address string) (pids []int, err error) {
	c := client{address: address}
	defer c.close()
	a, err := c.get("/ops.json")
	if err != nil {
		return nil, err
	}
	var ops site.Ops
	if err := json.Unmarshal(a.body, &ops); err != nil {
		return nil, err
	}
	for _, s := range ops.Servers {
		pids = append(pids, s.PID)
	}
	return pids, nil
}

// processor returns what processes have used of the processors since they began; 0 where the
// system does not tell.
func processor(pids ...int) time.Duration {
	const tick = 10 * time.Millisecond // the unit of user and system time, on all machines of today
	var sum time.Duration
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(stat), ") ") // what stands before is the name
		if fields := strings.Fields(after); len(fields) > 12 {
			user, _ := strconv.ParseInt(fields[11], 10, 64)
			system, _ := strconv.ParseInt(fields[12], 10, 64)
			sum += time.Duration(user+system) * tick
		}
	}
	return sum
}
