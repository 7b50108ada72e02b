package wanted

import "testing"

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"100kb": 100_000, "100kib": 102_400, "1.5MB": 1_500_000, "0": 0, "12": 12, "1 GiB": 1 << 30, "2 megabytes": 2_000_000,
		"8kbit": 1000, "1e3": 1000, "1 exabyte": 1e18, "9999EB": 1<<63 - 1, "0.5": 0, "1.5": 2, "2.5": 2,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "kb", "-1", "1k", "1xb", ".5kb"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, got)
		}
	}
}
