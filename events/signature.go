package events

import (
	"crypto/ed25519"
	"encoding/base64"

	"github.com/nats-io/nats.go"
)

// The headers that carry the authority's signature on a message.
const (
	HeaderKey       = "Authbus-Key"       // id of the feed key
	HeaderSignature = "Authbus-Signature" // Ed25519, base64url without padding
)

// FeedKey is a public key that signs the feed and the replies of the authority.
type FeedKey struct {
	ID     string            `json:"kid" validate:"required,max=256"`
	Public ed25519.PublicKey `json:"x" validate:"required,len=32"`
}

// signedBytes binds a payload to where it was said: a record to its subject on
// the feed, a reply to the subject of its request. A reply is bound to its
// request by the nonce in its payload.
func signedBytes(subject string, payload []byte) []byte {
	const domain = "authbus/1\n"
	b := make([]byte, 0, len(domain)+len(subject)+1+len(payload))
	b = append(b, domain...)
	b = append(b, subject...)
	b = append(b, '\n')
	return append(b, payload...)
}

// Sign returns the headers that prove that the holder of the feed key said
// payload on subject: the feed subject of a record, the request subject of a reply.
func Sign(kid string, key ed25519.PrivateKey, subject string, payload []byte) nats.Header {
	sig := ed25519.Sign(key, signedBytes(subject, payload))
	return nats.Header{
		HeaderKey:       []string{kid},
		HeaderSignature: []string{base64.RawURLEncoding.EncodeToString(sig)},
	}
}

// VerifySignature reports whether header holds a signature of payload on subject
// by one of keys, which maps the id of a feed key to the key.
func VerifySignature(keys map[string]ed25519.PublicKey, header nats.Header, subject string, payload []byte) bool {
	key, ok := keys[header.Get(HeaderKey)]
	if !ok {
		return false
	}
	// The length is checked because the decoder skips line breaks.
	text := header.Get(HeaderSignature)
	sig, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(text) != base64.RawURLEncoding.EncodedLen(ed25519.SignatureSize) {
		return false
	}
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, signedBytes(subject, payload), sig)
}
