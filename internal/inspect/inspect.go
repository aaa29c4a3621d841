// Package inspect serves a page that looks into spaces, live: what they hold, what happens
// to them, where their bytes are, and what they were.
//
// The page belongs to the person who started the command, and to nobody else. What it shows
// was written by others:
//
//	IN1  Only who has the token gets anything but a refusal. Whoever sent the request, it was
//	     meant for this server (Host), and no page of another origin made it (Origin,
//	     Sec-Fetch-Site). (Server.guard)
//	IN2  An answer holds a version while it is made, and never while it is sent: it is made
//	     in memory that is bounded, then sent within a deadline. So an open page pins nothing,
//	     and who reads slowly slows nobody. (Server.answer, Server.backup)
//	IN3  Nothing that is stored becomes part of a document: it travels as JSON, and the page
//	     makes text nodes of it. The policy allows no script and no style but the files of the
//	     page. (Server.guard)
//	IN4  Nothing is written unless Options.Write says so. (Server.change)
//	IN5  What costs a walk over much is done by one goroutine at a time, and again only after
//	     many times as long as it took. So an open page costs writers little, however large the
//	     space. (pace)
//
// Start reading at New, then Server.routes.
package inspect

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/everheap/everheap"
)

//go:embed page
var pageFiles embed.FS

// Source is a space to be looked into.
type Source struct {
	Name string
	Open func() (*everheap.Space, error)
}

// Options say what a Server shows, and may do.
type Options struct {
	Sources []Source
	Write   bool   // the sources are open for writing, and the page may write them
	Version string // of the command, to be shown
	Token   string // of the address; "": a new one
}

// Server serves the page.
type Server struct {
	opt     Options
	token   string // of the printed address
	session string // of the cookie that the token is exchanged for
	port    string // that it listens on
	spaces  []*space
	work    *work
	stop    context.CancelFunc // of what goes on in the background
	ctx     context.Context
	done    sync.WaitGroup
}

// New opens the spaces. Those that cannot be opened are shown with the reason, unless none can:
// then that is the error. Close must follow.
func New(opt Options) (*Server, error) {
	s := &Server{opt: opt, token: opt.Token, session: secret()}
	if s.token == "" {
		s.token = secret()
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.work = newWork()
	var failed []error
	for _, src := range opt.Sources {
		sp := newSpace(src.Name)
		if sp.Space, sp.err = src.Open(); sp.err != nil {
			failed = append(failed, sp.err)
		}
		s.spaces = append(s.spaces, sp)
	}
	if len(failed) == len(opt.Sources) {
		s.stop()
		return nil, errors.Join(failed...)
	}
	for _, sp := range s.spaces {
		if sp.err == nil {
			s.done.Go(func() { sp.pulse.run(s.ctx, sp, s.work) })
		}
	}
	return s, nil
}

// secret returns 32 random bytes as text.
func secret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// Close ends what goes on, and closes the spaces.
func (s *Server) Close() error {
	s.stop()
	s.done.Wait()
	s.work.close()
	var failed []error
	for _, sp := range s.spaces {
		if sp.err == nil {
			sp.keys.wait()
			failed = append(failed, sp.Close())
		}
	}
	return errors.Join(failed...)
}

// Listen listens at an address of this machine alone. An address that others can reach is
// refused.
func Listen(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("the address %q is none: give one like 127.0.0.1:7070: %w", address, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("others could reach %q; the page is for this machine alone: give 127.0.0.1, ::1 or localhost. From another machine: ssh -L 7070:127.0.0.1:7070", host)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() { // localhost may mean anything
		return nil, errors.Join(fmt.Errorf("%q is not an address of this machine alone", address), l.Close())
	}
	return l, nil
}

// Address returns the address to open in a browser, with the token.
func (s *Server) Address(l net.Listener) string {
	return fmt.Sprintf("http://%s/?token=%s", l.Addr(), s.token)
}

// Limits of what clients may do.
const (
	mostHeader  = 64 << 10
	mostBody    = 8 << 20
	mostAnswer  = 64 << 20
	sendWithin  = 20 * time.Second
	readWithin  = 20 * time.Second
	idleFor     = 2 * time.Minute
	mostClients = 200
)

// Serve serves the page until the context ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	_, s.port, _ = net.SplitHostPort(l.Addr().String())
	h := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: readWithin,
		ReadTimeout:       readWithin,
		IdleTimeout:       idleFor,
		MaxHeaderBytes:    mostHeader,
		ErrorLog:          nowhere,
		BaseContext:       func(net.Listener) context.Context { return s.ctx },
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-ctx.Done()
		s.stop() // streams end
		patience, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if h.Shutdown(patience) != nil {
			_ = h.Close()
		}
	}()
	err := h.Serve(limit(l, mostClients))
	if errors.Is(err, http.ErrServerClosed) {
		<-ended
		return nil
	}
	return err
}

// handler returns all that is served.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	s.routes(mux)
	return s.guard(mux)
}

// routes are the paths of the page.
func (s *Server) routes(mux *http.ServeMux) {
	page, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err) // the directory is embedded
	}
	mux.Handle("GET /", http.FileServerFS(page))
	get := func(path string, fn func(r *http.Request, q *query) (any, error)) {
		mux.HandleFunc("GET /api/"+path, s.get(fn))
	}
	get("spaces", s.listSpaces)
	get("collections", inSpace(s, (*space).collections))
	get("rows", inSpace(s, (*space).rows))
	get("value", inSpace(s, (*space).value))
	get("types", inSpace(s, (*space).types))
	get("form", inSpace(s, (*space).form))
	get("heap", inSpace(s, (*space).heap))
	get("checkpoints", inSpace(s, (*space).checkpoints))
	get("changes", inSpace(s, (*space).changes))
	mux.HandleFunc("GET /api/live", s.live)
	mux.HandleFunc("GET /api/backup", s.backup)
	mux.HandleFunc("GET /metrics", s.metrics) // its clients send the token as "Authorization: Bearer TOKEN"

	post := func(path string, fn func(ctx context.Context, sp *space, c *change) (any, error)) {
		mux.HandleFunc("POST /api/"+path, s.post(fn))
	}
	post("set", s.change(setEntry))
	post("delete", s.change(deleteEntry))
	post("checkpoint", s.change(makeCheckpoint))
	post("drop", s.change(dropCheckpoint))
	post("restore", s.change(restoreCheckpoint))
	post("start", s.start)
}
