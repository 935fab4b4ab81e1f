package authority

import (
	"time"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// Meta is what is known of where a request came from.
type Meta struct {
	Address   string // IP address, empty where unknown
	UserAgent string // at most 256 bytes are kept
}

// Tokens is what a login, a refresh and "log out everywhere but here" give. The
// names are those of RFC 6749 §5.1.
type Tokens struct {
	TokenType   string // "Bearer"
	AccessToken Secret
	ExpiresIn   int64 // of the access token, in seconds
	// RefreshToken works once. It is empty where only the access token is new.
	RefreshToken Secret
	Sub, SID     string
}

// Account is a user.
type Account struct {
	Sub       string
	Username  string
	Email     string
	Roles     []string
	Status    string // active, disabled, or deleted
	CreatedAt time.Time
}

// Session is one login that is alive.
type Session struct {
	SID, Sub, ClientID    string
	UserAgent, Address    string // at the last use
	CreatedAt, LastUsedAt time.Time
	// ExpiresAt is when the session ends if nobody uses it.
	ExpiresAt time.Time
	// Current marks the session that asks.
	Current bool
}

// Delivery says whether the bus has a revocation.
type Delivery string

// The deliveries of a committed revocation.
const (
	Delivered Delivery = "delivered" // the stream has it
	Pending   Delivery = "pending"   // committed; published as soon as the bus is reachable
)

// Ack says that a revocation is committed durably.
type Ack struct {
	Epoch    string
	Rev      uint64
	Delivery Delivery
}

// Revoked is the answer to an admin's revocation.
type Revoked struct {
	Ack
	// Known is false where the database has no session, user or key of this id.
	// The revocation is recorded all the same: after a restored backup the
	// database may know less than what is alive. Of tokens it keeps no list, and
	// everyone is always known; there it is true.
	Known bool
}

// Revocation is one record of the log, and who wrote it.
type Revocation struct {
	events.Revocation
	Actor string
}

// RevocationPage is one page of the log, newest first; Next asks for the one
// after it and is empty at the end.
type RevocationPage struct {
	Revocations []Revocation
	Next        string
}

// AccountPage is one page of accounts, in order of registration; Next asks for
// the one after it and is empty at the end.
type AccountPage struct {
	Accounts []Account
	Next     string
}

// AccountQuery asks for accounts.
type AccountQuery struct {
	Search string // a part of the user name or e-mail address; empty means all
	Cursor string // Next of the page before
	Limit  int    // 1 to 500; 0 means 50
}

// Service is another service that may introspect and revoke the tokens that are
// meant for it: those with one of its audiences in aud.
type Service struct {
	ID string
	// Audiences are never empty.
	Audiences []string
	CreatedAt time.Time
	// PreviousUntil is when the secret before the current one stops working;
	// zero where there is none.
	PreviousUntil time.Time
}

// The kinds of tokens that introspection tells apart.
const (
	TypeAccess  = "Bearer"
	TypeRefresh = "refresh_token"
)

// Introspection is what a service learns of a token (RFC 7662 §2.2). Where Active
// is false everything else is empty.
type Introspection struct {
	Active    bool
	TokenType string // TypeAccess or TypeRefresh
	// Claims are those of an access token. Of a refresh token there are issuer,
	// audience, subject, session, client, roles, expiry and times.
	Claims *token.Claims
}
