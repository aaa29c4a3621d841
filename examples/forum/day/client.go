package day

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// client is a browser with one connection that it keeps. It sends a request again, once, if
// the server dies before it has answered: as browsers do, and users.
type client struct {
	address string
	conn    net.Conn
	in      *bufio.Reader
	out     []byte
	body    []byte // of the last answer
	cookie  string
	again   int // requests that failed once
}

// answer is what a page has besides its body, which is the client's until the next request.
type answer struct {
	status   int
	location string
	cookie   string
	body     []byte
}

// errTwice is of a request that failed, was sent again, and failed again.
var errTwice = errors.New("a request failed twice")

// patience is how long a client waits for an answer.
const patience = 30 * time.Second

func (c *client) get(path string) (answer, error) { return c.do("GET", path, "") }

func (c *client) post(path string, form url.Values) (answer, error) {
	return c.do("POST", path, form.Encode())
}

func (c *client) do(method, path, form string) (answer, error) {
	a, err := c.once(method, path, form)
	if err == nil && a.status != http.StatusServiceUnavailable {
		return a, nil
	}
	c.again++
	c.close()
	first := err
	if a, err = c.once(method, path, form); err != nil {
		c.close()
		return a, fmt.Errorf("%w: %s %s: first %v, then %v", errTwice, method, path, first, err)
	}
	if a.status == http.StatusServiceUnavailable {
		return a, fmt.Errorf("%w: %s %s: first %v, then status %d", errTwice, method, path, first, a.status)
	}
	return a, nil
}

// once sends a request and reads the answer.
func (c *client) once(method, path, form string) (a answer, err error) {
	if c.conn == nil {
		if c.conn, err = net.DialTimeout("tcp", c.address, patience); err != nil {
			return a, err
		}
		if c.in == nil {
			c.in = bufio.NewReaderSize(c.conn, 64<<10)
		} else {
			c.in.Reset(c.conn)
		}
	}
	c.conn.SetDeadline(time.Now().Add(patience))
	b := append(c.out[:0], method...)
	b = append(append(append(b, ' '), path...), " HTTP/1.1\r\nHost: "...)
	b = append(b, c.address...)
	if c.cookie != "" {
		b = append(append(b, "\r\nCookie: "...), c.cookie...)
	}
	if method == "POST" {
		b = fmt.Appendf(b, "\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d", len(form))
	}
	b = append(append(b, "\r\n\r\n"...), form...)
	c.out = b
	if _, err := c.conn.Write(b); err != nil {
		return a, err
	}
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return a, err
	}
	if n := int(r.ContentLength); n >= 0 {
		if cap(c.body) < n {
			c.body = make([]byte, n+n/4)
		}
		c.body = c.body[:n]
		_, err = io.ReadFull(r.Body, c.body)
	} else {
		c.body, err = io.ReadAll(r.Body)
	}
	if err != nil {
		return a, err
	}
	if r.Close {
		c.close()
	}
	a = answer{status: r.StatusCode, location: r.Header.Get("Location"), body: c.body}
	if set := r.Header.Get("Set-Cookie"); set != "" {
		a.cookie, _, _ = strings.Cut(set, ";")
	}
	return a, nil
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}
