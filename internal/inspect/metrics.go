package inspect

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/everheap/everheap/internal/metric"
)

// measured has the last metrics of a space.
type measured struct {
	mu       sync.Mutex
	families []metric.Family
	at       time.Time
	took     time.Duration
}

// metrics serves the metrics of all spaces that are open, for Prometheus.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	var all [][]metric.Family
	for _, sp := range s.spaces {
		if sp.err != nil {
			continue
		}
		families, err := sp.measure(r.Context())
		if err != nil {
			return // the client has left
		}
		all = append(all, families)
	}
	var text bytes.Buffer
	_ = metric.Write(&text, all...)
	send(w, metric.ContentType, http.StatusOK, text.Bytes())
}

// measure returns the metrics of a space: the last ones until new ones are due (IN5).
func (sp *space) measure(ctx context.Context) ([]metric.Family, error) {
	sp.measured.mu.Lock()
	defer sp.measured.mu.Unlock()
	if sp.measured.families != nil && time.Since(sp.measured.at) < pace(sp.measured.took) {
		return sp.measured.families, nil
	}
	err := sp.walk(ctx, func() error {
		began := time.Now()
		sp.measured.families = metric.Of(sp.Space, metric.Options{Collections: true})
		sp.measured.at = time.Now()
		sp.measured.took = sp.measured.at.Sub(began)
		return nil
	})
	return sp.measured.families, err
}

// CheckToken returns an error if a chosen token is not acceptable.
func CheckToken(token string) error {
	if len(token) < 16 || len(token) > 256 {
		return errors.New("a token has 16 to 256 characters, so that it cannot be guessed")
	}
	for _, c := range token {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return errors.New("a token has only letters, digits, - and _")
		}
	}
	return nil
}
