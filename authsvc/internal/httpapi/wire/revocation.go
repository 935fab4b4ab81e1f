package wire

import "time"

// The states of a revocation's delivery to the bus.
const (
	Delivered = "delivered" // the stream has it
	Pending   = "pending"   // committed; the bus gets it as soon as it is reachable
)

// Ack says that a revocation is durable, and how far it has come. Delivery never
// weakens the promise: while it is pending, no verifier can prove that it is
// fresh, and after its bound it refuses or asks.
type Ack struct {
	Epoch    string `json:"epoch"`
	Rev      uint64 `json:"rev"`
	Delivery string `json:"delivery"`
}

// AckTokens is an acknowledgement and, where the asking session lives on, the
// access token that it goes on with.
type AckTokens struct {
	Ack
	Tokens *Tokens `json:"tokens,omitempty"`
}

// Revoked is the answer of POST /v1/admin/revocations.
type Revoked struct {
	Ack
	// Known is false where the database has no such session, user or key. The
	// revocation counts all the same: a token may outlive what the database knows.
	Known bool `json:"known"`
}

// RevokeRequest is the body of POST /v1/admin/revocations.
type RevokeRequest struct {
	Scope string `json:"scope" validate:"required,oneof=token session user everyone key cert"`
	// ID is the jti, sid, sub, kid or certificate id; empty for everyone.
	ID     string `json:"id,omitempty" validate:"required_unless=Scope everyone,excluded_if=Scope everyone,max=256"`
	Reason string `json:"reason" validate:"required,max=256"`
	// Confirm must be true for the scopes that log out more than one user.
	Confirm bool `json:"confirm,omitempty"`
	// NotAfter is the end of the certificate, for the scope cert; absent where it
	// is not known.
	NotAfter time.Time `json:"not_after,omitzero"`
}

// Revocation is one record of the log.
type Revocation struct {
	Rev       uint64    `json:"rev"`
	Epoch     string    `json:"epoch"`
	Scope     string    `json:"scope"`
	ID        string    `json:"id,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Actor     string    `json:"actor,omitempty"`
	At        time.Time `json:"at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// RevocationPage is one page of the log, newest first.
type RevocationPage struct {
	Revocations []Revocation `json:"revocations"`
	Next        string       `json:"next,omitempty"`
}
