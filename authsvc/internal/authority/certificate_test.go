package authority_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/events"
)

func TestCertificatesAreRevokedForTheirLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		admin := w.admin()
		day, week := strings.Repeat("1d", 32), strings.Repeat("7d", 32)
		revoke := func(id string, notAfter time.Time) error {
			_, err := w.Revoke(w.ctx(), admin, authority.RevokeRequest{
				Scope: events.ScopeCert, ID: id, Reason: "key copied", NotAfter: notAfter,
			})
			return err
		}
		w.must(revoke(day, time.Now().Add(24*time.Hour)))
		w.must(revoke(week, time.Time{}))
		steps := []struct {
			sleep time.Duration
			want  []string
		}{
			{0, []string{day, week}},
			{24*time.Hour + time.Minute, []string{day, week}}, // for clocks that are behind
			{5 * 24 * time.Hour, []string{week}},
			{24 * time.Hour, nil},
		}
		for _, step := range steps {
			time.Sleep(step.sleep)
			got, err := w.CertificateRevoked(w.ctx(), day, strings.Repeat("0", 64), week)
			w.must(err)
			if !slices.Equal(got, step.want) {
				t.Errorf("%v later: %v are revoked, want %v", step.sleep, got, step.want)
			}
			all, err := w.RevokedCertificates(w.ctx())
			w.must(err)
			if !slices.Equal(all, step.want) {
				t.Errorf("%v later: all that are revoked are %v, want %v", step.sleep, all, step.want)
			}
		}
	})
}

func TestImpossibleEndsOfCertificatesAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	admin := w.admin()
	id := strings.Repeat("ab", 32)
	for name, r := range map[string]authority.RevokeRequest{
		"longer than any lives":      {Scope: events.ScopeCert, ID: id, NotAfter: time.Now().Add(8 * 24 * time.Hour)},
		"expired":                    {Scope: events.ScopeCert, ID: id, NotAfter: time.Now().Add(-time.Hour)},
		"of a token":                 {Scope: events.ScopeToken, ID: "t_1", NotAfter: time.Now().Add(time.Hour)},
		"an id in capitals":          {Scope: events.ScopeCert, ID: strings.ToUpper(id)},
		"an id that is cut short":    {Scope: events.ScopeCert, ID: id[:62]},
		"a serial number for the id": {Scope: events.ScopeCert, ID: "8f:00:12"},
		"no id":                      {Scope: events.ScopeCert},
	} {
		_, err := w.Revoke(w.ctx(), admin, r)
		w.wantCode(err, authority.CodeInvalidInput, name)
	}
}
