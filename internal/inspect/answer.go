package inspect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/everheap/everheap"
)

// problem is the answer for an error: what is wrong, where, and the current value if that is the
// cause.
type problem struct {
	Text    string `json:"error"`
	Part    string `json:"part,omitempty"`    // key or value
	Path    string `json:"path,omitempty"`    // of the field
	What    string `json:"what,omitempty"`    // what is wrong with the field
	Current string `json:"current,omitempty"` // JSON of the current value

	status int
}

// Error implements error.
func (p *problem) Error() string { return p.Text }

// problemOf returns the answer for an error, with its HTTP status.
func problemOf(err error) *problem {
	if p := (*problem)(nil); errors.As(err, &p) {
		return p
	}
	p := &problem{Text: err.Error(), status: http.StatusInternalServerError}
	if j := (*everheap.JSONError)(nil); errors.As(err, &j) {
		p.Part, p.Path, p.What, p.status = j.Part, j.Path, j.What, http.StatusUnprocessableEntity
		return p
	}
	for _, c := range []struct {
		err    error
		status int
	}{
		{everheap.ErrNotFound, http.StatusNotFound},
		{everheap.ErrReadOnly, http.StatusForbidden},
		{everheap.ErrDuplicate, http.StatusConflict},
		{everheap.ErrExists, http.StatusConflict},
		{everheap.ErrTypeChanged, http.StatusConflict},
		{everheap.ErrDangling, http.StatusUnprocessableEntity},
		{everheap.ErrNaN, http.StatusUnprocessableEntity},
		{everheap.ErrTooLarge, http.StatusUnprocessableEntity},
		{everheap.ErrBusy, http.StatusServiceUnavailable},
		{everheap.ErrSuspended, http.StatusServiceUnavailable},
	} {
		if errors.Is(err, c.err) {
			p.status = c.status
			break
		}
	}
	return p
}

// bad returns the answer for a malformed request.
func bad(format string, args ...any) error {
	return &problem{Text: fmt.Sprintf(format, args...), status: http.StatusBadRequest}
}

// get answers requests that only read.
func (s *Server) get(fn func(r *http.Request, q *query) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.answer(w, func() (any, error) {
			q, err := parseQuery(r.URL.RawQuery)
			if err != nil {
				return nil, err
			}
			return fn(r, q)
		})
	}
}

// inSpace is get for one space.
func inSpace(s *Server, fn func(sp *space, ctx context.Context, q *query) (any, error)) func(r *http.Request, q *query) (any, error) {
	return func(r *http.Request, q *query) (any, error) {
		sp, err := s.space(q.space)
		if err != nil {
			return nil, err
		}
		return fn(sp, r.Context(), q)
	}
}

// change is a requested change. Keys and values are JSON text, as in all answers: the numbers of
// JavaScript cannot hold all of Go's.
type change struct {
	Space string  `json:"space"`
	ID    hexID   `json:"id"`
	Key   *string `json:"key"` // null: the collection has no keys, or the end of a list
	Value string  `json:"value"`
	Old   *string `json:"old"` // the value that the user saw; null: no value
	Name  string  `json:"name"`
	Kind  string  `json:"kind"`
}

// post answers requests that change something or start a task.
func (s *Server) post(fn func(ctx context.Context, sp *space, c *change) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.answer(w, func() (any, error) {
			if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
				return nil, &problem{Text: "the request is not JSON", status: http.StatusUnsupportedMediaType}
			}
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBody))
			if err != nil {
				return nil, &problem{Text: fmt.Sprintf("the request could not be read, or is larger than %d bytes", mostBody), status: http.StatusRequestEntityTooLarge}
			}
			var c change
			d := json.NewDecoder(bytes.NewReader(body))
			d.DisallowUnknownFields()
			if err := d.Decode(&c); err != nil {
				return nil, bad("the request is malformed: %v", err)
			}
			sp, err := s.space(c.Space)
			if err != nil {
				return nil, err
			}
			return fn(r.Context(), sp, &c)
		})
	}
}

// errWithoutWrite is the answer to a change without Options.Write (IN4).
var errWithoutWrite = &problem{Text: "this page only looks: start everheap inspect with --write to change something", status: http.StatusForbidden}

// change answers requests for changes, if changes are allowed (IN4).
func (s *Server) change(fn func(ctx context.Context, sp *space, c *change) (any, error)) func(ctx context.Context, sp *space, c *change) (any, error) {
	return func(ctx context.Context, sp *space, c *change) (any, error) {
		if !s.opt.Write {
			return nil, errWithoutWrite
		}
		ctx, cancel := context.WithTimeout(ctx, sendWithin)
		defer cancel()
		return fn(ctx, sp, c)
	}
}

// answer makes an answer, and sends it when it is complete (IN2).
func (s *Server) answer(w http.ResponseWriter, fn func() (any, error)) {
	var body bytes.Buffer
	v, err := protect(fn)
	if err == nil {
		err = json.NewEncoder(&bounded{&body, mostAnswer}).Encode(v)
	}
	status := http.StatusOK
	if err != nil {
		p := problemOf(err)
		status = p.status
		body.Reset()
		_ = json.NewEncoder(&body).Encode(p)
	}
	send(w, "application/json", status, body.Bytes())
}

// protect turns a panic into an error: damage, or an unforeseen request, ends only one answer.
func protect(fn func() (any, error)) (v any, err error) {
	defer func() {
		if r := recover(); r != nil {
			v, err = nil, fmt.Errorf("the inspector failed: %v", r)
		}
	}()
	return fn()
}

// errTooMuch says that an answer grew too large.
var errTooMuch = &problem{Text: "the answer is larger than a page should have; everheap get prints it", status: http.StatusInsufficientStorage}

// bounded is a writer that fails after a number of bytes.
type bounded struct {
	io.Writer
	left int
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errTooMuch
	}
	return b.Writer.Write(p)
}

// send sends a complete body, within a deadline.
func send(w http.ResponseWriter, kind string, status int, body []byte) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(sendWithin))
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
