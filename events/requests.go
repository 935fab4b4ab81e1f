package events

import "encoding/json"

// Every request carries a nonce that its reply repeats, and every reply is
// signed like a feed record (see [Sign]), on the subject of the request: a reply
// can be neither forged nor replayed. A request that is refused is answered with
// the micro service error headers and one of the Code constants.

// Error codes of a refused request, in the header Nats-Service-Error-Code.
const (
	CodeBadRequest  = "400" // not understood, or breaks the schema
	CodeForbidden   = "403" // understood, and not granted: a certificate that may not be renewed
	CodeUnavailable = "503" // the authority cannot read its database now
	CodeOverloaded  = "429" // too many at once: ask again later
)

// FreshRequest asks for the read index: what has the log committed now? The
// rest of it tells the authority about the asker, for the fleet list.
type FreshRequest struct {
	Nonce string `json:"nonce" validate:"required,max=64"`
	// Verifier is the service's name, Instance this process of it.
	Verifier string `json:"verifier" validate:"required,max=128"`
	Instance string `json:"instance" validate:"required,max=64"`
	// Epoch and Applied say how far the verifier has come: its watermark.
	Epoch   string `json:"epoch,omitempty" validate:"max=64"`
	Applied uint64 `json:"applied"`
	// StaleMS is the age of the verifier's last proof of freshness; -1 without one.
	StaleMS int64 `json:"stale_ms" validate:"min=-1"`
	// MaxStaleMS is the verifier's bound B.
	MaxStaleMS int64 `json:"max_stale_ms" validate:"min=1"`
}

// FreshReply is the state that the authority's database had committed at some
// time after the request was sent.
type FreshReply struct {
	Nonce string `json:"nonce" validate:"required,max=64"`
	Epoch string `json:"epoch" validate:"required,max=64"`
	// Rev is the last committed revision; 0 in a log without any.
	Rev uint64 `json:"rev"`
	// Floor is the lowest revision still alive: all below have expired. It is
	// Rev+1 where none is alive.
	Floor uint64 `json:"floor" validate:"min=1"`
	// Keys changes whenever the published keys do: time to ask for them again.
	Keys uint64 `json:"keys"`
	// Now is the authority's clock in Unix milliseconds, to notice a clock that is far off.
	Now int64 `json:"now" validate:"required"`
}

// RangeRequest asks for the live records with After < rev, in order.
type RangeRequest struct {
	Nonce string `json:"nonce" validate:"required,max=64"`
	// Epoch is the log that After counts in. Where it is not the authority's
	// current one, the reply starts from the floor.
	Epoch string `json:"epoch,omitempty" validate:"max=64"`
	After uint64 `json:"after"`
	// Limit is the most records wanted; the authority may send fewer.
	Limit int `json:"limit" validate:"min=1,max=5000"`
}

// RangeReply is one page of the log.
type RangeReply struct {
	Nonce string `json:"nonce" validate:"required,max=64"`
	Epoch string `json:"epoch" validate:"required,max=64"`
	// After is where the page really starts: the request's, or Floor-1 after a
	// change of epoch.
	After uint64 `json:"after"`
	// Through is where it ends: whoever has the page has every live record with
	// After < rev <= Through.
	Through uint64 `json:"through"`
	// Rev is the last committed revision; another page follows while Through < Rev.
	Rev uint64 `json:"rev"`
	// Records are encoded as on the feed, so that one that this version does not
	// understand spoils nothing but itself. See [DecodeRevocation].
	Records []json.RawMessage `json:"records" validate:"max=5000"`
}

// StatusRequest asks about one token whose signature the asker has verified. No
// bearer token crosses the bus.
type StatusRequest struct {
	Nonce string   `json:"nonce" validate:"required,max=64"`
	Token TokenRef `json:"token"`
}

// StatusReply holds what decides about the token.
type StatusReply struct {
	Nonce string `json:"nonce" validate:"required,max=64"`
	Epoch string `json:"epoch" validate:"required,max=64"`
	// Rev is the last committed revision. A token with a greater rev was not
	// minted from this log: it is not active.
	Rev uint64 `json:"rev"`
	// Active is the authority's verdict.
	Active bool `json:"active"`
	// Records are the live records that name one of the token's ids, covering it
	// or not, and of those that name its user or everyone only the latest.
	Records []Revocation `json:"records" validate:"max=16"`
}

// KeysRequest asks for the published keys.
type KeysRequest struct {
	Nonce string `json:"nonce" validate:"required,max=64"`
}

// KeysReply holds the public keys: of tokens as a JWK set (RFC 7517 §5), and of
// the feed. Of shared secrets (HS256) it holds kids, which every token shows too.
type KeysReply struct {
	Nonce  string          `json:"nonce" validate:"required,max=64"`
	Issuer string          `json:"issuer" validate:"required,max=512"`
	JWKS   json.RawMessage `json:"jwks" validate:"required"`
	Feed   []FeedKey       `json:"feed" validate:"required,min=1,max=16,dive"`
	// Keys is the version that FreshReply.Keys speaks of.
	Keys uint64 `json:"keys"`
	// SharedSecret is the kid of the shared secret that signs tokens; empty where none does.
	SharedSecret string `json:"shared_secret,omitempty" validate:"max=256"`
	// KilledSecrets are the kids of the shared secrets that were killed, at least the
	// latest ones. They are dead for good, while the records that killed them expire.
	KilledSecrets []string `json:"killed_secrets,omitempty" validate:"max=64,dive,required,max=256"`
}

// MaxKilledSecrets is how many KilledSecrets a [KeysReply] can hold.
const MaxKilledSecrets = 64

// VerifyRequest has the authority verify a whole token: for thin clients. The
// token crosses the bus, so the subject needs its own permission.
type VerifyRequest struct {
	Nonce string `json:"nonce" validate:"required,max=64"`
	Token string `json:"token" validate:"required,max=16384"`
	// Audience is the service that the token was presented to.
	Audience string `json:"audience" validate:"required,max=256"`
}

// VerifyReply is the verdict on a whole token.
type VerifyReply struct {
	Nonce  string `json:"nonce" validate:"required,max=64"`
	Active bool   `json:"active"`
	// Reason is the stable code of a refusal, such as "expired" or "revoked".
	Reason string `json:"reason,omitempty" validate:"max=64"`
	// Claims is the token's claims set where Active, and absent otherwise.
	Claims json.RawMessage `json:"claims,omitempty"`
}
