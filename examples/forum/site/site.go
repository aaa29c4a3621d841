// Package site is the forum as a web site: it asks a page.Store for what it shows, and knows
// nothing of how that is kept. A server answers from one buffer: a page is whole, or it is an
// error.
//
// Start reading at New; then comments.go for the page that must be fast, live.go for pages
// that stay up to date, drain.go for servers that have become the old ones.
package site

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/examples/forum/page"
)

// maxBody bounds what a browser may send, in bytes; maxAddress what it may ask for.
const (
	maxBody    = 3*page.MaxText + 8192
	maxAddress = 2048
)

// Options say how a Site works.
type Options struct {
	// Address is where all servers of the site listen, as host:port.
	Address string
	// Kill kills another server of this site. nil: the page /ops has no such button.
	Kill func(pid int) error
	// Leave is called once, when this server is older than the data: it makes the process
	// take no new connections and end when those that it has are done.
	Leave func()
	// Rounds is how often a new password is hashed; 0: as often as is right.
	Rounds int
	// Store is what keeps the data, in a word or two, for the foot of the pages.
	Store string
}

// Site answers requests. It is an http.Handler.
type Site struct {
	store  page.Store
	opt    Options
	mux    *http.ServeMux
	cross  *http.CrossOriginProtection
	live   *hub
	hashes chan struct{} // how many passwords may be hashed at once

	started  time.Time
	requests atomic.Uint64
	leave    sync.Once
	draining atomic.Bool
	forward  http.RoundTripper
	decoy    page.Password // compared where there is no user
}

// New returns a site over a store. Run keeps it up to date.
func New(store page.Store, opt Options) *Site {
	if opt.Rounds == 0 {
		opt.Rounds = defaultRounds
	}
	s := &Site{store: store, opt: opt, mux: http.NewServeMux(), cross: http.NewCrossOriginProtection(), started: time.Now(),
		hashes: make(chan struct{}, 2), forward: &http.Transport{DisableKeepAlives: true}}
	s.live = newHub(s)
	s.decoy = page.Password{Salt: make([]byte, 16), Hash: make([]byte, 32), Rounds: opt.Rounds}
	s.routes()
	return s
}

func (s *Site) routes() {
	for pattern, fn := range map[string]func(*request) error{
		"GET /{$}":                  (*request).front,
		"GET /tag/{tag}":            (*request).tagged,
		"GET /s/{id}":               (*request).story,
		"GET /s/{id}/reply/{n}":     (*request).replyForm,
		"POST /s/{id}/reply/{n}":    (*request).reply,
		"POST /s/{id}/moderate":     (*request).moderate,
		"GET /u/{name}":             (*request).user,
		"GET /search":               (*request).search,
		"GET /submit":               (*request).submitForm,
		"POST /submit":              (*request).submit,
		"GET /login":                (*request).loginForm,
		"POST /login":               (*request).login,
		"GET /register":             (*request).loginForm,
		"POST /register":            (*request).register,
		"POST /logout":              (*request).logout,
		"GET /me":                   (*request).me,
		"GET /ops":                  (*request).ops,
		"GET /ops.json":             (*request).opsJSON,
		"POST /ops/kill":            (*request).kill,
		"/":                         (*request).nowhere,
		"GET /robots.txt":           (*request).robots,
		"GET /assets/{hash}/{name}": (*request).asset,
	} {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, fn) })
	}
	s.mux.HandleFunc("GET /live", s.serveLive)
	s.mux.HandleFunc("GET /s/{id}/live", s.serveLive)
}

// Run watches what changes and tells that this server is there, until ctx ends.
func (s *Site) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { s.live.run(ctx) })
	all.Go(func() { s.beat(ctx) })
	all.Wait()
}

// ServeHTTP answers a request: first what holds for all pages.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	h := w.Header()
	h["Content-Security-Policy"] = policy
	h["X-Content-Type-Options"] = nosniff
	h["Referrer-Policy"] = sameOrigin
	h["X-Frame-Options"] = deny
	h["Cross-Origin-Opener-Policy"] = sameOrigin
	if s.draining.Load() {
		h.Set("Connection", "close")
	}
	if len(r.RequestURI) > maxAddress {
		http.Error(w, "that address is too long", http.StatusRequestURITooLong)
		return
	}
	if !s.ours(r.Host) {
		http.Error(w, "this site has another name", http.StatusMisdirectedRequest)
		return
	}
	// Another site's page cannot send a form here in the name of its reader.
	if err := s.cross.Check(r); err != nil {
		http.Error(w, "that form is of another site", http.StatusForbidden)
		return
	}
	s.mux.ServeHTTP(w, r)
}

var (
	policy     = []string{"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"}
	nosniff    = []string{"nosniff"}
	sameOrigin = []string{"same-origin"}
	deny       = []string{"DENY"}
	typeHTML   = []string{"text/html; charset=utf-8"}
	noStore    = []string{"no-store"}
)

// ours reports whether a request names this site: a name of another one that was made to
// lead here does not.
func (s *Site) ours(host string) bool {
	if host == s.opt.Address {
		return true
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return false
	}
	_, own, _ := net.SplitHostPort(s.opt.Address)
	return port == own && (name == "localhost" || name == "127.0.0.1" || name == "::1")
}

// request is one request and its answer.
type request struct {
	*http.Request
	site   *Site
	out    *buffer
	header http.Header
	status int
	token  [32]byte // of the session
	name   string   // of who has logged in; "": nobody
	points int      // that they have left
	body   []byte
	after  func() // what is done when the answer is sent
}

// answer answers a request by fn, which writes the answer into a buffer.
func (s *Site) answer(w http.ResponseWriter, r *http.Request, fn func(*request) error) {
	q := &request{Request: r, site: s, out: newBuffer(), header: w.Header(), status: http.StatusOK}
	defer q.out.release()
	err := q.prepare(w)
	if err == nil {
		err = fn(q)
	}
	if errors.Is(err, page.ErrOutdated) {
		s.Drain()
		s.passOn(w, q)
		return
	}
	if err != nil {
		q.fail(err)
	}
	if q.header["Content-Type"] == nil {
		q.header["Content-Type"] = typeHTML
	}
	if q.header["Cache-Control"] == nil {
		q.header["Cache-Control"] = noStore
	}
	q.header["Content-Length"] = []string{strconv.Itoa(len(q.out.b))}
	w.WriteHeader(q.status)
	if r.Method != http.MethodHead {
		w.Write(q.out.b)
	}
	if q.after != nil {
		http.NewResponseController(w).Flush()
		q.after()
	}
}

// prepare reads what the browser sent, and finds out who it is.
func (q *request) prepare(w http.ResponseWriter) error {
	if q.Method == http.MethodPost {
		var err error
		if q.body, err = io.ReadAll(http.MaxBytesReader(w, q.Body, maxBody)); err != nil {
			return tell(http.StatusRequestEntityTooLarge, "That is more than a form of this site can have.")
		}
		q.Body = io.NopCloser(bytes.NewReader(q.body))
		if err := q.ParseForm(); err != nil {
			return tell(http.StatusBadRequest, "That form cannot be read.")
		}
	}
	return q.recognise()
}

// message is an error that the reader of the page is to see.
type message struct {
	status int
	text   string
}

func (m *message) Error() string { return m.text }

func tell(status int, text string) error { return &message{status, text} }

// fail makes an error the answer.
func (q *request) fail(err error) {
	m := &message{http.StatusInternalServerError, "Something went wrong here. It is not your fault; please try again."}
	switch {
	case errors.As(err, &m):
	case errors.Is(err, page.ErrNone):
		m = &message{http.StatusNotFound, "There is no such page here."}
	case errors.Is(err, page.ErrTaken), errors.Is(err, page.ErrVoted), errors.Is(err, page.ErrOwn), errors.Is(err, page.ErrNoPoints):
		m = &message{http.StatusConflict, sentence(err.Error())}
	default:
		log.Printf("%s %s: %v", q.Method, q.URL.Path, err)
	}
	q.out.b = q.out.b[:0]
	q.status = m.status
	q.template("error", "Sorry", m)
}

func (q *request) nowhere() error { return page.ErrNone }

// redirect makes the browser get another page of this site.
func (q *request) redirect(to string) error {
	q.header.Set("Location", to)
	q.status = http.StatusSeeOther
	return nil
}

// number reads a number of the address or of the form.
func number(text string, most uint64) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n > most {
		return 0, page.ErrNone
	}
	return uint32(n), nil
}

// back returns the local address that a form is to lead back to.
func back(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Host != "" || u.Scheme != "" || len(to) == 0 || to[0] != '/' || len(to) > 1 && (to[1] == '/' || to[1] == '\\') {
		return "/"
	}
	return u.String()
}
