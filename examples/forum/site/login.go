package site

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/everheap/everheap/examples/forum/page"
)

const (
	cookieName    = "forum"
	sessionLength = 30 * 24 * time.Hour
	defaultRounds = 600_000 // of PBKDF2 with SHA-256: what OWASP advises
	leastPassword = 8
)

// Hash makes what is kept of a password.
func Hash(password string, rounds int) (page.Password, error) {
	p := page.Password{Salt: make([]byte, 16), Rounds: rounds}
	rand.Read(p.Salt)
	var err error
	p.Hash, err = pbkdf2.Key(sha256.New, password, p.Salt, rounds, 32)
	return p, err
}

// matches reports whether a password is the one of which p is kept.
func matches(p page.Password, password string) bool {
	hash, err := pbkdf2.Key(sha256.New, password, p.Salt, p.Rounds, 32)
	return err == nil && subtle.ConstantTimeCompare(hash, p.Hash) == 1
}

// hashing runs fn, which takes long: two at a time, so that log-ins cannot take all of the
// machine from pages.
func (s *Site) hashing(fn func()) {
	s.hashes <- struct{}{}
	defer func() { <-s.hashes }()
	fn()
}

// recognise finds out who sends the request, by the cookie.
func (q *request) recognise() error {
	c, err := q.Cookie(cookieName)
	if err != nil {
		return nil
	}
	token, err := hex.DecodeString(c.Value)
	if err != nil || len(token) != 32 {
		return nil
	}
	q.token = sha256.Sum256(token)
	q.name, q.points, err = q.site.store.Session(q.token)
	if errors.Is(err, page.ErrNone) {
		return nil
	}
	return err
}

// loginForm shows the forms to log in and to register.
func (q *request) loginForm() error {
	return q.template("login", "Log in", loginPage{To: back(q.FormValue("to")), New: q.URL.Path == "/register"})
}

type loginPage struct {
	To, Name, Error string
	New             bool
}

// login begins a session for who knows the password.
func (q *request) login() error {
	name, password := q.PostFormValue("name"), q.PostFormValue("password")
	known := q.site.decoy // to compare with: an answer for no user takes as long
	if page.ValidName(name) && len(password) <= page.MaxPassword {
		p, err := q.site.store.Password(name)
		if err == nil {
			known = p
		} else if !errors.Is(err, page.ErrNone) {
			return err
		}
	}
	ok := false
	q.site.hashing(func() { ok = matches(known, cut(password, page.MaxPassword)) })
	if !ok {
		q.status = http.StatusForbidden
		return q.template("login", "Log in", loginPage{To: back(q.PostFormValue("to")), Name: cut(name, page.MaxName), Error: "No user has that name and that password."})
	}
	return q.begin(name)
}

// register adds a user, who is logged in then.
func (q *request) register() error {
	name, password := q.PostFormValue("name"), q.PostFormValue("password")
	again := loginPage{To: back(q.PostFormValue("to")), Name: cut(name, page.MaxName), New: true}
	switch {
	case !page.ValidName(name):
		again.Error = "A name has 1 to 20 letters from a to z, digits, - and _."
	case len(password) < leastPassword || len(password) > page.MaxPassword:
		again.Error = "A password has 8 to 200 bytes."
	}
	if again.Error == "" {
		var p page.Password
		var err error
		q.site.hashing(func() { p, err = Hash(password, q.site.opt.Rounds) })
		if err != nil {
			return err
		}
		if err = q.site.store.Register(name, p); err == nil {
			return q.begin(name)
		} else if !errors.Is(err, page.ErrTaken) {
			return err
		}
		again.Error = "Somebody else has that name already."
	}
	q.status = http.StatusBadRequest
	return q.template("login", "Register", again)
}

// begin begins a session. The browser gets 32 random bytes, and the store their hash.
func (q *request) begin(name string) error {
	token := make([]byte, 32)
	rand.Read(token)
	until := time.Now().Add(sessionLength)
	if err := q.site.store.Login(name, sha256.Sum256(token), until); err != nil {
		return err
	}
	q.cookie(hex.EncodeToString(token), int(sessionLength/time.Second))
	return q.redirect(back(q.PostFormValue("to")))
}

func (q *request) cookie(value string, age int) {
	c := http.Cookie{Name: cookieName, Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	q.header.Set("Set-Cookie", c.String())
}

// logout ends the session.
func (q *request) logout() error {
	if q.name != "" {
		if err := q.site.store.Logout(q.token); err != nil {
			return err
		}
	}
	q.cookie("", -1)
	return q.redirect("/")
}

// me says who has logged in.
func (q *request) me() error {
	if q.name == "" {
		return tell(http.StatusForbidden, "You have not logged in.")
	}
	q.header.Set("Content-Type", "text/plain; charset=utf-8")
	q.out.raw(q.name)
	return nil
}
