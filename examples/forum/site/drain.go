package site

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"time"
)

// Drain makes this server one that ends: it takes no new connections, and tells browsers to
// close those that they have. It is called when the data have been changed for a newer
// version of the program, and when the process is asked to end.
func (s *Site) Drain() {
	s.leave.Do(func() {
		s.draining.Store(true)
		if s.opt.Leave != nil {
			s.opt.Leave()
		}
		s.live.end()
	})
}

// passOn lets a server of the new version answer a request that this one cannot: nothing was
// written yet, neither to the browser nor to the store. This server listens no more, so
// the connection is one to another.
func (s *Site) passOn(w http.ResponseWriter, q *request) {
	deadline := time.Now().Add(10 * time.Second)
	for {
		r := q.Request.Clone(q.Context())
		r.URL.Scheme, r.URL.Host = "http", s.opt.Address
		r.RequestURI = ""
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(q.body)), int64(len(q.body))
		answer, err := s.forward.RoundTrip(r)
		if err == nil {
			defer answer.Body.Close()
			for name, values := range answer.Header {
				w.Header()[name] = values
			}
			w.Header().Set("Connection", "close")
			w.WriteHeader(answer.StatusCode)
			io.Copy(w, answer.Body)
			return
		}
		if time.Now().After(deadline) || q.Context().Err() != nil {
			log.Printf("passing %s %s on: %v", q.Method, q.URL.Path, err)
			http.Error(w, "the new servers are not there yet", http.StatusServiceUnavailable)
			return
		}
		time.Sleep(20 * time.Millisecond) // the new server is not there yet
	}
}
