package day

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
)

// What a page costs at least, whatever the store: a constant one as large as that of a story with
// 50, 500 and 5,000 comments, by the server of the standard library, over the loopback, to the client
// of the measurements. No site is faster. Server and client are one process here: cpu-µs/op is
// what both use of the processors for a page.
func BenchmarkConstantPage(b *testing.B) {
	for _, size := range []int{21_000, 190_000, 1_825_000} {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			page := bytes.Repeat([]byte("constant"), size/8)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", strconv.Itoa(len(page)))
				w.Write(page)
			})}
			go server.Serve(l)
			defer server.Close()
			before := processor(os.Getpid())
			b.ResetTimer()
			next := make(chan bool)
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					c := client{address: l.Addr().String()}
					defer c.close()
					for range next {
						if a, err := c.get("/"); err != nil || len(a.body) != len(page) {
							b.Errorf("%d bytes: %v", len(a.body), err)
						}
					}
				})
			}
			for range b.N {
				next <- true
			}
			close(next)
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pages/s")
			b.ReportMetric(float64((processor(os.Getpid())-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}
