package events_test

import (
	"crypto/ed25519"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/events"
)

// feedKey returns a key pair of its own for each seed.
func feedKey(seed byte) (ed25519.PublicKey, ed25519.PrivateKey) {
	private := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), ed25519.SeedSize)))
	return private.Public().(ed25519.PublicKey), private
}

func TestVerifySignature(t *testing.T) {
	public, private := feedKey('a')
	public2, private2 := feedKey('b')
	keys := map[string]ed25519.PublicKey{"f1": public, "f2": public2, "short": public[:31]}
	const subject, payload = "auth.revocations.user", `{"v":1}`
	good := events.Sign("f1", private, subject, []byte(payload))
	header := func(kid, signature string) nats.Header {
		return nats.Header{events.HeaderKey: {kid}, events.HeaderSignature: {signature}}
	}
	signature := good.Get(events.HeaderSignature)

	tests := map[string]struct {
		keys             map[string]ed25519.PublicKey
		header           nats.Header
		subject, payload string
		want             bool
	}{
		"as signed":                 {keys, good, subject, payload, true},
		"by another known key":      {keys, events.Sign("f2", private2, subject, []byte(payload)), subject, payload, true},
		"on another subject":        {keys, good, "auth.revocations.token", payload, false},
		"a reply put on the feed":   {keys, events.Sign("f1", private, "auth.verify", []byte(payload)), subject, payload, false},
		"a tampered payload":        {keys, good, subject, `{"v":2}`, false},
		"a longer payload":          {keys, good, subject, payload + "\n", false},
		"the line moved":            {keys, good, "auth.revocations", ".user\n" + payload, false},
		"by the wrong key":          {keys, events.Sign("f1", private2, subject, []byte(payload)), subject, payload, false},
		"under another key's name":  {keys, header("f2", signature), subject, payload, false},
		"by an unknown key":         {keys, header("f9", signature), subject, payload, false},
		"without keys":              {nil, good, subject, payload, false},
		"without headers":           {keys, nil, subject, payload, false},
		"without signature":         {keys, header("f1", ""), subject, payload, false},
		"a signature cut short":     {keys, header("f1", signature[:len(signature)-2]), subject, payload, false},
		"a signature with padding":  {keys, header("f1", signature+"=="), subject, payload, false},
		"a signature in two lines":  {keys, header("f1", signature[:9]+"\n"+signature[9:]), subject, payload, false},
		"another spelling":          {keys, header("f1", respell(signature)), subject, payload, false},
		"a key that is no key":      {keys, header("short", signature), subject, payload, false},
		"the headers in lower case": {keys, nats.Header{"authbus-key": {"f1"}, "authbus-signature": {signature}}, subject, payload, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := events.VerifySignature(tc.keys, tc.header, tc.subject, []byte(tc.payload)); got != tc.want {
				t.Errorf("verified: %v, want %v", got, tc.want)
			}
		})
	}
}

// respell sets an unused bit of the last character: 64 bytes leave four of them.
func respell(signature string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, signature[len(signature)-1])
	return signature[:len(signature)-1] + string(alphabet[last|1])
}
