package model

import (
	"slices"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/examples/forum/page"
)

// Server is a process that serves the site. It says so each second; if it does not,
// since it was killed, the entry expires.
type Server struct {
	page.Server
	Until time.Time `everheap:"expires"`
}

// Beat tells that this process serves.
func (f *Forum) Beat(s page.Server) error {
	s.Version = Types
	return outdated(f.servers.Set(f.space, s.PID, Server{s, time.Now().Add(3 * time.Second)}))
}

// Servers returns the processes that serve, in the order in which they started.
func (f *Forum) Servers() (list []page.Server, err error) {
	err = f.space.View(func(tx *everheap.Tx) error {
		for _, s := range f.servers.All(tx) {
			list = append(list, s.Server)
		}
		return nil
	})
	slices.SortFunc(list, func(a, b page.Server) int { return a.Started.Compare(b.Started) })
	return list, outdated(err)
}
