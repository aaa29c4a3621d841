package inspect

import (
	"crypto/subtle"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// policy allows the page its own files and nothing else (IN3).
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// nowhere is where the server's own complaints go: they are about clients.
var nowhere = log.New(io.Discard, "", 0)

// guard lets requests through that the person who has the token made on the page (IN1).
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		switch {
		case !s.ownHost(r.Host): // a name that somebody made lead here: DNS rebinding
			refuse(w, http.StatusMisdirectedRequest, "This server does not answer to the name in the address. Use the address that everheap inspect printed.")
		case s.foreign(r):
			refuse(w, http.StatusForbidden, "A page of another origin made this request.")
		case s.enters(r):
			s.enter(w, r)
		case !s.knows(r):
			refuse(w, http.StatusUnauthorized, "Open the address that everheap inspect printed: it has the token that this page needs. A server that was started anew has another one.")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// ownHost reports whether a request was meant for this server.
func (s *Server) ownHost(host string) bool {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = strings.Trim(host, "[]"), "80"
	}
	return port == s.port && slices.Contains([]string{"127.0.0.1", "::1", "localhost"}, name)
}

// foreign reports whether a page of another origin made the request. One that is loaded because
// somebody followed the link with the token, from wherever, is not.
func (s *Server) foreign(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host {
		return true
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	return !s.enters(r) || r.Header.Get("Sec-Fetch-Mode") != "navigate"
}

// enters reports whether the request is one with a token, right or not.
func (s *Server) enters(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Path == "/" && r.URL.Query().Has("token")
}

// enter exchanges the token for the cookie, and leads to the page without it: not by a redirect,
// in which a browser that came from another site would keep the cookie back.
func (s *Server) enter(w http.ResponseWriter, r *http.Request) {
	if !same(r.URL.Query().Get("token"), s.token) {
		refuse(w, http.StatusForbidden, "The token in the address is not the one of this server. Use the address that everheap inspect printed last.")
		return
	}
	http.SetCookie(w, &http.Cookie{Name: s.cookie(), Value: s.session, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, `<!doctype html><html lang="en"><title>Everheap</title><link rel="icon" href="data:,"><meta http-equiv="refresh" content="0;url=/"><p><a href="/">Continue</a></html>`)
}

// cookie is the name of the cookie: browsers do not tell ports apart.
func (s *Server) cookie() string { return "everheap-inspect-" + s.port }

// knows reports whether the request has the cookie, or the token in a header.
func (s *Server) knows(r *http.Request) bool {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return same(token, s.token)
	}
	c, err := r.Cookie(s.cookie())
	return err == nil && same(c.Value, s.session)
}

// same compares secrets in a time that tells nothing.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// refuse answers a request that is not let through. The text is the server's own.
func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><title>Everheap</title><h1>Everheap</h1><p>`+text+`</html>`)
}

// limit makes a listener have so many connections at a time.
func limit(l net.Listener, most int) net.Listener {
	return &limited{l, make(chan struct{}, most)}
}

type limited struct {
	net.Listener
	slots chan struct{}
}

// Accept waits for a connection, and for room for it.
func (l *limited) Accept() (net.Conn, error) {
	l.slots <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &counted{Conn: c, l: l}, nil
}

// counted is a connection that gives its room back once.
type counted struct {
	net.Conn
	l    *limited
	gone sync.Once
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.gone.Do(func() { <-c.l.slots })
	return c.Conn.Close()
}
