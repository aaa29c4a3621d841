package measure

import (
	"bytes"
	"reflect"
	"testing"
)

// Records written as lines of JSON are read back.
func TestRecords_RoundTrip(t *testing.T) {
	in := []Record{
		{Machine: &Machine{Kernel: "Linux 6", Cores: 2, Notes: map[string]string{"a": "b"}}},
		{Engine: "everheap", Workload: "points", Op: "get", Mode: "async", Value: 12.5, Unit: "ns", Round: 2, N: 1000, Ops: 99,
			Seconds: 0.25, Foreign: 3, Extra: map[string]float64{"p50_us": 1}, Note: "a note"},
		{Engine: "disk", Workload: "raw", Value: 0},
	}
	var b bytes.Buffer
	for _, r := range in {
		if err := WriteRecord(&b, r); err != nil {
			t.Fatal(err)
		}
	}
	out, err := ReadRecords(&b)
	if err != nil || !reflect.DeepEqual(in, out) {
		t.Errorf("read %+v, wrote %+v: %v", out, in, err)
	}
	if _, err := ReadRecords(bytes.NewReader([]byte("{}\nnot JSON\n"))); err == nil {
		t.Error("a line that is not JSON was accepted")
	}
}

// A quantile is right to 1/32.
func TestHistogram_Quantiles(t *testing.T) {
	var a, b Histogram
	for i := range int64(10_000) {
		h := &a
		if i%2 == 0 {
			h = &b
		}
		h.Add(i * 10)
	}
	a.Merge(&b)
	for _, p := range []float64{0.5, 0.99} {
		if q, want := a.Quantile(p), p*100_000; q < want*0.96 || q > want*1.001 {
			t.Errorf("quantile %.2f is %.0f, want about %.0f", p, q, want)
		}
	}
	extra := map[string]float64{}
	a.Extra(extra, "x_")
	if extra["x_max_us"] != 99.99 {
		t.Errorf("the extras are %v", extra)
	}
}
