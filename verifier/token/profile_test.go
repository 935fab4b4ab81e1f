package token

import (
	"strings"
	"sync"
	"testing"
	"time"
)

func TestNormalizeFillsInDefaultsAndKeepsBounds(t *testing.T) {
	full := func(leeway, lifetime time.Duration) Profile {
		return Profile{Issuer: "i", Audience: "a", Leeway: leeway, MaxLifetime: lifetime}
	}
	tests := []struct {
		name    string
		profile Profile
		want    Profile
		err     string
	}{
		{"defaults", full(0, 0), full(10*time.Second, time.Hour), ""},
		{"own values", full(time.Second, time.Minute), full(time.Second, time.Minute), ""},
		{"caps", full(time.Minute, time.Hour), full(time.Minute, time.Hour), ""},
		{"no issuer", Profile{Audience: "a"}, Profile{}, "issuer"},
		{"no audience", Profile{Issuer: "i"}, Profile{}, "audience"},
		{"leeway above the cap", full(61*time.Second, 0), Profile{}, "leeway"},
		{"negative leeway", full(-1, 0), Profile{}, "leeway"},
		{"lifetime above the cap", full(0, 2*time.Hour), Profile{}, "lifetime"},
		{"negative lifetime", full(0, -1), Profile{}, "lifetime"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.profile.Normalize()
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Normalize = %+v, %v; want %+v, %q", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestProfileThatWasNotNormalizedIsSafe(t *testing.T) {
	keys := loadTestKeys(t)
	raw, err := Sign(goodClaims(), edID, AlgEdDSA, keys.ed)
	if err != nil {
		t.Fatal(err)
	}
	greedy := Profile{Issuer: vectorIssuer, Audience: vectorAudience, Leeway: 1000 * time.Hour, MaxLifetime: 1000 * time.Hour}
	tests := []struct {
		name    string
		profile Profile
		at      time.Duration // after iat; the token lives 600 s
		want    Reason
	}{
		{"no profile at all", Profile{}, 0, ReasonBadIssuer},
		{"no audience", Profile{Issuer: vectorIssuer}, 0, ReasonBadAudience},
		{"a leeway of weeks is held to 60 s", greedy, 660 * time.Second, ReasonExpired},
		{"and is 60 s", greedy, 659 * time.Second, ""},
		{"a negative leeway is none", Profile{Issuer: vectorIssuer, Audience: vectorAudience, Leeway: -time.Hour}, 600 * time.Second, ReasonExpired},
		{"a negative lifetime accepts nothing", Profile{Issuer: vectorIssuer, Audience: vectorAudience, MaxLifetime: -1}, 0, ReasonLifetimeTooLong},
		{"a lifetime of its own", Profile{Issuer: vectorIssuer, Audience: vectorAudience, MaxLifetime: 599 * time.Second}, 0, ReasonLifetimeTooLong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.profile.Verify(raw, keys.set(t), time.Unix(vectorNow, 0).Add(tt.at))
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil || reasonOf(t, err) != tt.want {
				t.Errorf("Verify: %v; want %s", err, tt.want)
			}
		})
	}
}

// The bounds are exact to the nanosecond, whatever part of a second it is.
func TestCheckTimeIsExact(t *testing.T) {
	p := vectorProfile()
	at := func(seconds int64, d time.Duration) time.Time { return time.Unix(seconds, 0).Add(d) }
	c := &Claims{IssuedAt: vectorNow, NotBefore: vectorNow + 5, ExpiresAt: vectorNow + 600}
	tests := []struct {
		name string
		now  time.Time
		want Reason
	}{
		{"before nbf and leeway", at(c.NotBefore, -p.leeway()-1), ReasonNotYetValid},
		{"at nbf less leeway", at(c.NotBefore, -p.leeway()), ""},
		{"last moment", at(c.ExpiresAt, p.leeway()-1), ""},
		{"at exp and leeway", at(c.ExpiresAt, p.leeway()), ReasonExpired},
		{"the year 1", time.Time{}, ReasonNotYetValid},
		{"the year 9999", time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), ReasonExpired},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := p.CheckTime(c, tt.now)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || reasonOf(t, err) != tt.want) {
				t.Errorf("CheckTime: %v; want %q", err, tt.want)
			}
		})
	}
	late := &Claims{IssuedAt: vectorNow, ExpiresAt: vectorNow + 600}
	if err := p.CheckTime(late, at(vectorNow, -p.leeway()-1)); err == nil || reasonOf(t, err) != ReasonIssuedInFuture {
		t.Errorf("before iat and leeway: %v", err)
	}
}

// An empty audience in the token must not meet an empty one in the profile.
func TestNoAudienceIsNobodysAudience(t *testing.T) {
	keys := loadTestKeys(t)
	f := forge{tb: t, keys: keys}
	for _, aud := range []string{`""`, `[""]`} {
		raw := f.withClaims(set("aud", aud))
		_, err := Profile{Issuer: vectorIssuer}.Verify(raw, keys.set(t), time.Unix(vectorNow, 0))
		if err == nil || reasonOf(t, err) != ReasonBadAudience {
			t.Errorf("aud %s: %v", aud, err)
		}
	}
}

func TestVerifyWithoutKeysRefuses(t *testing.T) {
	raw, err := Sign(goodClaims(), edID, AlgEdDSA, loadTestKeys(t).ed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vectorProfile().Verify(raw, nil, time.Unix(vectorNow, 0)); err == nil || reasonOf(t, err) != ReasonUnknownKID {
		t.Errorf("Verify: %v", err)
	}
}

func TestVerifyServesManyGoroutines(t *testing.T) {
	keys := loadTestKeys(t)
	set, now := keys.set(t), time.Unix(vectorNow, 0)
	var wg sync.WaitGroup
	for _, kid := range []string{edID, ecID, rsaID} {
		raw := signedToken(t, keys, kid)
		for range 4 {
			wg.Go(func() {
				for range 20 {
					if _, err := vectorProfile().Verify(raw, set, now); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
}
