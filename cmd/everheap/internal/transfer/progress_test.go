package transfer

import (
	"testing"
	"time"
)

func TestBar_SaysHowFarItIs(t *testing.T) {
	b := NewBar(nil, 1000)
	b.Show(1, 1) // shows nothing
	b.Clear()
	for _, c := range []struct {
		done uint64
		want string
	}{
		{0, "[........................]   0 %  1,234 rows, 99 a second"},
		{500, "[############............]  50 %  1,234 rows, 99 a second, 10s left"},
		{1000, "[########################] 100 %  1,234 rows, 99 a second"},
		{2000, "[########################] 100 %  1,234 rows, 99 a second"},
	} {
		if got := b.text(c.done, 1234, 99, 10*time.Second); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if got := NewBar(nil, 0).text(5, 5, 1, time.Second); got != "5 rows, 1 a second" {
		t.Errorf("got %q", got)
	}
}
