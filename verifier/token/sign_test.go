package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authbus/authbus/events"
)

// goodClaims are claims that Sign takes and vectorProfile accepts.
func goodClaims() Claims {
	return Claims{
		Issuer: vectorIssuer, Subject: "u-1", Audience: []string{vectorAudience},
		ExpiresAt: vectorNow + 600, IssuedAt: vectorNow, ID: "j-1", SessionID: "s-1", ClientID: "web",
		Scope: []string{"orders:read", "orders:write"}, Roles: []string{"clerk"}, AuthTime: vectorNow - 60, Rev: 7,
	}
}

func TestSignWritesTheTokenOfTheDesign(t *testing.T) {
	keys := loadTestKeys(t)
	raw, err := Sign(goodClaims(), edID, AlgEdDSA, keys.ed)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"alg":"EdDSA","typ":"at+jwt","kid":"ed-1"}`,
		`{"iss":"https://auth.test.example","sub":"u-1","aud":"orders","exp":1798762200,"iat":1798761600,"jti":"j-1","sid":"s-1",` +
			`"client_id":"web","scope":"orders:read orders:write","roles":["clerk"],"auth_time":1798761540,"rev":7}`,
	}
	for i, segment := range strings.Split(raw, ".")[:2] {
		got, err := base64.RawURLEncoding.DecodeString(segment)
		if err != nil || string(got) != want[i] {
			t.Errorf("segment %d is %s, %v; want %s", i, got, err, want[i])
		}
	}
}

func TestSignWritesSeveralAudiencesAsArray(t *testing.T) {
	keys := loadTestKeys(t)
	c := goodClaims()
	c.Audience = []string{"billing", vectorAudience}
	raw, err := Sign(c, edID, AlgEdDSA, keys.ed)
	if err != nil {
		t.Fatal(err)
	}
	got, err := vectorProfile().Verify(raw, keys.set(t), time.Unix(vectorNow, 0))
	if err != nil || !slices.Equal(got.Audience, c.Audience) {
		t.Errorf("Verify = %v, %v", got, err)
	}
}

func TestSignedTokensVerifyWithEveryAlgorithm(t *testing.T) {
	keys := loadTestKeys(t)
	for _, kid := range []string{edID, ecID, rsaID} {
		alg, signer := keys.signer(kid)
		raw, err := Sign(goodClaims(), kid, alg, signer)
		if err != nil {
			t.Fatal(err)
		}
		got, err := vectorProfile().Verify(raw, keys.set(t), time.Unix(vectorNow, 0))
		if err != nil {
			t.Fatalf("%s: %v", alg, err)
		}
		want := goodClaims()
		want.KeyID = kid
		if !got.equal(&want) {
			t.Errorf("%s: %+v; want %+v", alg, got, want)
		}
	}
}

func TestSignRefusesWhatNobodyWouldAccept(t *testing.T) {
	keys := loadTestKeys(t)
	tests := []struct {
		name   string
		change func(*Claims)
		want   string
	}{
		{"no issuer", func(c *Claims) { c.Issuer = "" }, "missing_claim: iss"},
		{"no subject", func(c *Claims) { c.Subject = "" }, "missing_claim: sub"},
		{"no audience", func(c *Claims) { c.Audience = nil }, "aud"},
		{"an empty audience", func(c *Claims) { c.Audience = []string{"orders", ""} }, "aud"},
		{"no id", func(c *Claims) { c.ID = "" }, "missing_claim: jti"},
		{"no lifetime", func(c *Claims) { c.ExpiresAt = c.IssuedAt }, "lifetime of 0 s"},
		{"more than an hour", func(c *Claims) { c.ExpiresAt = c.IssuedAt + 3601 }, "lifetime of 3601 s"},
		{"times that overflow", func(c *Claims) { c.IssuedAt, c.ExpiresAt = 1<<63-1, -1<<63 }, "iat is out of range"},
		{"negative times", func(c *Claims) { c.IssuedAt, c.ExpiresAt = -600, -1 }, "iat is out of range"},
		{"rev out of range", func(c *Claims) { c.Rev = 1 << 53 }, "bad_claim_type: rev"},
		{"a subject of 257 bytes", func(c *Claims) { c.Subject = strings.Repeat("s", 257) }, "bad_claim_type: sub"},
		{"a scope with a space", func(c *Claims) { c.Scope = []string{"orders:read admin"} }, "survive"},
		{"an empty scope", func(c *Claims) { c.Scope = []string{"a", "", "b"} }, "survive"},
		{"broken UTF-8", func(c *Claims) { c.Roles = []string{"\xff"} }, "UTF-8"},
		{"too many roles", func(c *Claims) { c.Roles = slices.Repeat([]string{"administrator"}, 1200) }, "longer than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := goodClaims()
			tt.change(&c)
			raw, err := Sign(c, edID, AlgEdDSA, keys.ed)
			if raw != "" || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Sign = %q, %v; want an error with %q", raw, err, tt.want)
			}
		})
	}
}

func TestSignRefusesUnfitKeys(t *testing.T) {
	keys := loadTestKeys(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak := *keys.rsa
	weak.N = new(big.Int).Rsh(keys.rsa.N, 1024)
	tests := []struct {
		name, kid string
		alg       Alg
		key       crypto.Signer
		want      string
	}{
		{"no key", edID, AlgEdDSA, nil, "no key"},
		{"no id", "", AlgEdDSA, keys.ed, "key id"},
		{"id too long", strings.Repeat("k", 257), AlgEdDSA, keys.ed, "key id"},
		{"unknown algorithm", edID, "HS256", keys.ed, "not supported"},
		{"EdDSA with RSA", edID, AlgEdDSA, keys.rsa, "type"},
		{"RS256 with Ed25519", edID, AlgRS256, keys.ed, "type"},
		{"ES256 on P-384", ecID, AlgES256, p384, "P-256"},
		{"RSA of 1024 bits", rsaID, AlgRS256, &weak, "1024 bits"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if raw, err := Sign(goodClaims(), tt.kid, tt.alg, tt.key); raw != "" || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Sign = %q, %v; want an error with %q", raw, err, tt.want)
			}
		})
	}
}

func TestClaimsAnswerAboutThemselves(t *testing.T) {
	c := goodClaims()
	c.KeyID = edID
	if want := (events.TokenRef{JTI: "j-1", SID: "s-1", Sub: "u-1", KID: edID, Rev: 7, Exp: vectorNow + 600}); c.Ref() != want {
		t.Errorf("Ref = %+v; want %+v", c.Ref(), want)
	}
	if !c.HasScope("orders:read") || c.HasScope("orders") || c.HasScope("Orders:read") || c.HasScope("") {
		t.Error("HasScope is not exact")
	}
	if !c.HasRole("clerk") || c.HasRole("admin") || c.HasRole("") {
		t.Error("HasRole is not exact")
	}
	if !c.Expiry().Equal(time.Unix(vectorNow+600, 0)) {
		t.Errorf("Expiry = %v", c.Expiry())
	}
}
