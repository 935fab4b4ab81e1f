package bus

import (
	"errors"
	"testing"
)

func TestServerVersions(t *testing.T) {
	for _, tc := range []struct {
		version string
		old     bool
	}{
		{"2.12.6", false},
		{"2.12.10", false},
		{"2.13.0", false},
		{"2.15.2", false},
		{"3.0.0", false},
		{"2.15.0-RC.1", false},
		{"v2.14.1", false},
		{"2.12.5", true},
		{"2.9.10", true},
		{"2.12", true},
		{"1.99.99", true},
		{"", true},
		{"nightly", true},
	} {
		if err := checkVersion(tc.version); errors.Is(err, ErrOldServer) != tc.old {
			t.Errorf("version %q: %v, want it refused: %v", tc.version, err, tc.old)
		}
	}
}
