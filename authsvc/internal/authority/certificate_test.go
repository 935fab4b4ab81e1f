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

// TestACertificateIsRevokedOnce: to revoke it again tells the same record, as long as
// that lives long enough, and has it published where it waits.
func TestACertificateIsRevokedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		admin := w.admin()
		id, end := strings.Repeat("1d", 32), time.Now().Add(24*time.Hour)
		revoke := func(notAfter time.Time, reason string) authority.Revoked {
			done, err := w.Revoke(w.ctx(), admin, authority.RevokeRequest{
				Scope: events.ScopeCert, ID: id, Reason: reason, NotAfter: notAfter,
			})
			w.must(err)
			return done
		}
		first := revoke(end, "key copied")
		time.Sleep(time.Hour)
		if again := revoke(end, "again"); again != first {
			t.Errorf("revoked again as %+v, it was %+v", again, first)
		}
		if earlier := revoke(end.Add(-time.Hour), "again"); earlier != first {
			t.Errorf("until an hour earlier: %+v", earlier)
		}
		if longer := revoke(end.Add(time.Second), "longer"); longer.Rev != first.Rev+1 {
			t.Errorf("for longer than the record lives: %+v after %+v", longer, first)
		}
		if records := w.records(); len(records) != 2 || records[0].Reason != "key copied" {
			t.Errorf("the log holds %+v", records)
		}
		time.Sleep(25 * time.Hour)
		admin.AuthTime = time.Now().Unix()
		if late := revoke(end.Add(48*time.Hour), "late"); late.Rev != first.Rev+2 {
			t.Errorf("when the records have expired: %+v", late)
		}
	})
}
