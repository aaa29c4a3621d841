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

// nowhere discards the HTTP server's own messages: they are about clients.
var nowhere = log.New(io.Discard, "", 0)

// guard lets a request through only if it has the token or the cookie and comes from the page (IN1).
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
		case !s.ownHost(r.Host): // a foreign name resolves to this address: DNS rebinding
			refuse(w, http.StatusMisdirectedRequest, "This server does not answer to the name in the address. Use the address that everheap inspect printed.")
		case s.foreign(r):
			refuse(w, http.StatusForbidden, "A page of another origin made this request.")
		case s.hasToken(r):
			s.exchangeToken(w, r)
		case !s.knows(r):
			refuse(w, http.StatusUnauthorized, "Open the address that everheap inspect printed: it has the token that this page needs. A server that was started anew has another one.")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// ownHost reports whether the Host of a request is this server.
func (s *Server) ownHost(host string) bool {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = strings.Trim(host, "[]"), "80"
	}
	return port == s.port && slices.Contains([]string{"127.0.0.1", "::1", "localhost"}, name)
}

// foreign reports whether a page of another origin made the request. Following a link with the token,
// from any page, is not foreign.
func (s *Server) foreign(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host {
		return true
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	return !s.hasToken(r) || r.Header.Get("Sec-Fetch-Mode") != "navigate"
}

// hasToken reports whether the request has a token in its address, valid or not.
func (s *Server) hasToken(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Path == "/" && r.URL.Query().Has("token")
}

// exchangeToken exchanges the token for the cookie, and opens the page without the token. It does not
// redirect: after a link from another site, a browser would not send the cookie with the redirected
// request.
func (s *Server) exchangeToken(w http.ResponseWriter, r *http.Request) {
	if !same(r.URL.Query().Get("token"), s.token) {
		refuse(w, http.StatusForbidden, "The token in the address is not the one of this server. Use the address that everheap inspect printed last.")
		return
	}
	http.SetCookie(w, &http.Cookie{Name: s.cookie(), Value: s.session, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, `<!doctype html><html lang="en"><title>Everheap</title><link rel="icon" href="data:,"><meta http-equiv="refresh" content="0;url=/"><p><a href="/">Continue</a></html>`)
}

// cookie returns the name of the cookie. It has the port, since cookies do not distinguish ports.
func (s *Server) cookie() string { return "everheap-inspect-" + s.port }

// knows reports whether the request has the cookie, or the token in a header.
func (s *Server) knows(r *http.Request) bool {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return same(token, s.token)
	}
	c, err := r.Cookie(s.cookie())
	return err == nil && same(c.Value, s.session)
}

// same compares secrets in constant time.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// refuse refuses a request. The text contains nothing from the request.
func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><title>Everheap</title><h1>Everheap</h1><p>`+text+`</html>`)
}

// limit bounds the number of connections of a listener.
func limit(l net.Listener, most int) net.Listener {
	return &limited{l, make(chan struct{}, most)}
}

type limited struct {
	net.Listener
	slots chan struct{}
}

// Accept waits until the number of connections is below the limit, and for a connection.
func (l *limited) Accept() (net.Conn, error) {
	l.slots <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &counted{Conn: c, l: l}, nil
}

// counted is a connection that is subtracted from the number once, when it is closed.
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
