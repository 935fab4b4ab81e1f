package events

import (
	"time"
)

// Type names what happened. On the bus it is a part of the subject; in the
// CloudEvents envelope it carries prefix and version: authbus.login.succeeded.v1.
type Type string

// The types of events.
const (
	TypeAccountRegistered    Type = "account.registered"
	TypeAccountDisabled      Type = "account.disabled"
	TypeAccountEnabled       Type = "account.enabled"
	TypeAccountDeleted       Type = "account.deleted"
	TypePasswordChanged      Type = "password.changed"
	TypeLoginSucceeded       Type = "login.succeeded"
	TypeLoginFailed          Type = "login.failed"
	TypeSessionRefreshed     Type = "session.refreshed"
	TypeSessionEnded         Type = "session.ended"
	TypeSessionRevoked       Type = "session.revoked"
	TypeSessionReuseDetected Type = "session.reuse_detected"
	TypeTokenRevoked         Type = "token.revoked"
	TypeUserRevoked          Type = "user.revoked"
	TypeEveryoneRevoked      Type = "everyone.revoked"
	TypeKeyPublished         Type = "key.published"
	TypeKeyActivated         Type = "key.activated"
	TypeKeyRetired           Type = "key.retired"
	TypeKeyRevoked           Type = "key.revoked"
	TypeCertificateRevoked   Type = "certificate.revoked"
)

// Event is one thing that happened, with its envelope. On the wire it is a
// CloudEvents 1.0 document in structured JSON mode.
type Event struct {
	// ID is unique within Source: the epoch of the log and Sequence, in printable
	// ASCII without spaces.
	ID string `validate:"required,max=128"`
	// Source is the issuer of the tokens, a URI reference.
	Source string `validate:"required,max=512"`
	// Time is when the database committed it, by the authority's clock.
	Time time.Time `validate:"required"`
	// Sequence is the database's own order: it grows by one with each event.
	// It is the CloudEvents extension attribute "sequence".
	Sequence uint64 `validate:"min=1"`
	// Data is one of the event structs of this package, by value.
	Data Data `validate:"required"`
}

// Data is what an event says: one of the structs of this package.
type Data interface {
	// Type is the event's type.
	Type() Type
	// Subject is the user that the event is about; empty where it is about none.
	Subject() string
}

// AccountRegistered says that an account exists from now on.
type AccountRegistered struct {
	Sub string `json:"sub" validate:"required,max=64"`
}

// AccountDisabled says that an account can no longer log in; its sessions have ended.
type AccountDisabled struct {
	Sub    string `json:"sub" validate:"required,max=64"`
	Rev    uint64 `json:"rev" validate:"min=1"`
	Reason string `json:"reason,omitempty" validate:"max=256"`
	Actor  string `json:"actor" validate:"required,max=64"`
}

// AccountEnabled says that a disabled account can log in again.
type AccountEnabled struct {
	Sub    string `json:"sub" validate:"required,max=64"`
	Reason string `json:"reason,omitempty" validate:"max=256"`
	Actor  string `json:"actor" validate:"required,max=64"`
}

// AccountDeleted says that an account is gone; its sub is never used again.
type AccountDeleted struct {
	Sub   string `json:"sub" validate:"required,max=64"`
	Rev   uint64 `json:"rev" validate:"min=1"`
	Actor string `json:"actor" validate:"required,max=64"`
}

// PasswordChanged says that a user has a new password and that the other
// sessions have ended, by the user revocation with the number Rev.
type PasswordChanged struct {
	Sub   string `json:"sub" validate:"required,max=64"`
	Rev   uint64 `json:"rev" validate:"min=1"`
	Actor string `json:"actor" validate:"required,max=64"`
}

// LoginSucceeded says that a session began.
type LoginSucceeded struct {
	Sub       string `json:"sub" validate:"required,max=64"`
	SID       string `json:"sid" validate:"required,max=64"`
	ClientID  string `json:"client_id" validate:"required,max=64"`
	Address   string `json:"address,omitempty" validate:"max=64"`
	UserAgent string `json:"user_agent,omitempty" validate:"max=256"`
}

// LoginFailed says that a login was refused. The user learns less than this.
type LoginFailed struct {
	// Sub is empty where no such account exists.
	Sub     string `json:"sub,omitempty" validate:"max=64"`
	Cause   string `json:"cause" validate:"oneof=unknown_account wrong_password disabled throttled"`
	Address string `json:"address,omitempty" validate:"max=64"`
}

// SessionRefreshed says that a session's refresh token was rotated.
type SessionRefreshed struct {
	Sub string `json:"sub" validate:"required,max=64"`
	SID string `json:"sid" validate:"required,max=64"`
}

// SessionEnded says that a user ended a session: a logout.
type SessionEnded struct {
	Sub string `json:"sub" validate:"required,max=64"`
	SID string `json:"sid" validate:"required,max=64"`
	Rev uint64 `json:"rev" validate:"min=1"`
}

// SessionRevoked says that somebody else, an admin or a rule, ended a session.
type SessionRevoked struct {
	Sub    string `json:"sub,omitempty" validate:"max=64"`
	SID    string `json:"sid" validate:"required,max=64"`
	Rev    uint64 `json:"rev" validate:"min=1"`
	Reason string `json:"reason,omitempty" validate:"max=256"`
	Actor  string `json:"actor" validate:"required,max=64"`
}

// SessionReuseDetected says that a refresh token was used again after its
// rotation. Somebody else may hold it, so the session has ended.
type SessionReuseDetected struct {
	Sub string `json:"sub" validate:"required,max=64"`
	SID string `json:"sid" validate:"required,max=64"`
	Rev uint64 `json:"rev" validate:"min=1"`
}

// TokenRevoked says that one access token was revoked.
type TokenRevoked struct {
	// Sub is empty where whoever revoked named only the token's id.
	Sub    string `json:"sub,omitempty" validate:"max=64"`
	JTI    string `json:"jti" validate:"required,max=256"`
	Rev    uint64 `json:"rev" validate:"min=1"`
	Reason string `json:"reason,omitempty" validate:"max=256"`
	Actor  string `json:"actor" validate:"required,max=64"`
}

// UserRevoked says that all sessions of a user have ended, but for KeptSID.
type UserRevoked struct {
	Sub     string `json:"sub" validate:"required,max=64"`
	KeptSID string `json:"kept_sid,omitempty" validate:"max=64"`
	Rev     uint64 `json:"rev" validate:"min=1"`
	Reason  string `json:"reason,omitempty" validate:"max=256"`
	Actor   string `json:"actor" validate:"required,max=64"`
}

// EveryoneRevoked says that every session there was has ended.
type EveryoneRevoked struct {
	Rev    uint64 `json:"rev" validate:"min=1"`
	Reason string `json:"reason,omitempty" validate:"max=256"`
	Actor  string `json:"actor" validate:"required,max=64"`
}

// KeyPublished says that a signing key is in the JWKS and not yet in use.
type KeyPublished struct {
	KID string `json:"kid" validate:"required,max=64"`
	Alg string `json:"alg" validate:"oneof=EdDSA ES256 RS256"`
}

// KeyActivated says that new tokens are signed with the key; HS256 is a shared
// secret, which is never published.
type KeyActivated struct {
	KID string `json:"kid" validate:"required,max=64"`
	Alg string `json:"alg" validate:"oneof=EdDSA ES256 RS256 HS256"`
}

// KeyRetired says that a key has left the JWKS: no token signed with it is alive.
// Of a shared secret (HS256) it says that the auth service no longer knows it.
type KeyRetired struct {
	KID string `json:"kid" validate:"required,max=64"`
	Alg string `json:"alg" validate:"oneof=EdDSA ES256 RS256 HS256"`
}

// KeyRevoked says that a key was killed: its tokens are refused from now on.
type KeyRevoked struct {
	KID    string `json:"kid" validate:"required,max=64"`
	Rev    uint64 `json:"rev" validate:"min=1"`
	Reason string `json:"reason,omitempty" validate:"max=256"`
	Actor  string `json:"actor" validate:"required,max=64"`
}

// CertificateRevoked says that a certificate was revoked: connections of whoever
// holds its key end.
type CertificateRevoked struct {
	// CertificateID is what [CertificateID] returns.
	CertificateID string `json:"certificate_id" validate:"required,len=64"`
	Rev           uint64 `json:"rev" validate:"min=1"`
	Reason        string `json:"reason,omitempty" validate:"max=256"`
	Actor         string `json:"actor" validate:"required,max=64"`
}
