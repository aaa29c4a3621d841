// Package inspect serves a page that shows spaces live: their contents, their activity, the use of
// their bytes, and their past versions.
//
// The page is for the user who started the command only. The data that it shows may come from anyone:
//
//	IN1  The server refuses every request without the token. It also refuses requests for another host
//	     (Host), and requests made by a page of another origin (Origin, Sec-Fetch-Site).
//	     (Server.guard)
//	IN2  The server holds a version while it makes an answer, and never while it sends one: it makes
//	     the answer in bounded memory, then sends it within a deadline. So an open page pins nothing,
//	     and a slow client slows no other. (Server.answer, Server.backup)
//	IN3  Stored data never become part of a document: the server sends them as JSON, and the page puts
//	     them into text nodes. The policy allows only the scripts and styles in the files of the page.
//	     (Server.guard)
//	IN4  The page changes a space only if Options.Write is set. (Server.change)
//	IN5  Only one goroutine at a time walks over many blocks. It walks again only after many times as
//	     long as the walk took. So an open page costs writers little, however large the space. (pace)
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

// Source is a space to show.
type Source struct {
	Name string
	Open func() (*everheap.Space, error)
}

// Options are the options of a Server.
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
	stop    context.CancelFunc // ends the work in the background
	ctx     context.Context
	done    sync.WaitGroup
}

// New opens the spaces. The page shows a space that cannot be opened with its error; if no space can
// be opened, New returns the error. Close must follow.
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
	_, _ = rand.Read(b) // rand.Read never fails
	return hex.EncodeToString(b)
}

// Close ends all work, and closes the spaces.
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

// Listen listens at a loopback address. It refuses addresses that other machines can reach.
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
	if tcp, ok := l.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() { // localhost may resolve to any address
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

// handler returns the handler of all requests.
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
