package bus

import "testing"

func TestEventsGetAPartOfTheAccount(t *testing.T) {
	const gib = 1 << 30
	for _, tc := range []struct {
		name      string
		limit     int64
		clustered bool
		want      int64
	}{
		{"one server", 8 * gib, false, 6 * gib},
		{"three servers of 8 GiB", 3 * 8 * gib, true, 3 * 8 * gib / 5 / 4 * 3},
		{"five servers of 8 GiB", 5 * 8 * gib, true, 6 * gib},
		{"hardly anything", 1, false, 1}, // 0 would be no bound
	} {
		if got := eventsBound(tc.limit, tc.clustered); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}
