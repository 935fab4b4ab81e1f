package wire

import "time"

// LoginRequest is the body of POST /v1/sessions.
type LoginRequest struct {
	// Login is the user name or the e-mail address.
	Login    string `json:"login" validate:"required,max=256"`
	Password Secret `json:"password" validate:"required,max=4096"`
	// ClientID names the application; empty means the first-party one.
	ClientID string `json:"client_id,omitempty" validate:"max=64"`
}

// RefreshRequest is the body of POST /v1/sessions/refresh.
type RefreshRequest struct {
	RefreshToken Secret `json:"refresh_token" validate:"required,max=256"`
	ClientID     string `json:"client_id,omitempty" validate:"max=64"`
}

// Tokens is what a login and a refresh give. The names are those of RFC 6749 §5.1.
type Tokens struct {
	TokenType   string `json:"token_type"` // Bearer
	AccessToken string `json:"access_token"`
	// ExpiresIn is the access token's lifetime in seconds.
	ExpiresIn int64 `json:"expires_in"`
	// RefreshToken works once: a refresh answers with the next one. It is absent
	// where only the access token is new.
	RefreshToken string `json:"refresh_token,omitempty"`
	Sub          string `json:"sub"`
	SID          string `json:"sid"`
}

// Session is one login.
type Session struct {
	SID        string    `json:"sid"`
	Sub        string    `json:"sub"`
	ClientID   string    `json:"client_id"`
	UserAgent  string    `json:"user_agent"`
	Address    string    `json:"address"`
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at"`
	// ExpiresAt is when the session ends if nobody uses it.
	ExpiresAt time.Time `json:"expires_at"`
	// Current marks the session that asks.
	Current bool `json:"current"`
}

// Sessions is a user's live sessions; there is a limit to their number.
type Sessions struct {
	Sessions []Session `json:"sessions"`
}

// SessionRequest names a session in the path.
type SessionRequest struct {
	SID string `path:"sid" validate:"required,max=64,printascii"`
}

// EndAllRequest is DELETE /v1/sessions.
type EndAllRequest struct {
	// Keep is "current" to spare the session that asks.
	Keep string `query:"keep" validate:"omitempty,oneof=current"`
}

// VerifyRequest is GET /v1/verify.
type VerifyRequest struct {
	// Audience is the service that the token was presented to; the auth service
	// itself unless given.
	Audience string `query:"audience" validate:"max=256"`
}

// Verified is the answer of GET /v1/verify: whose token it is.
type Verified struct {
	Sub      string   `json:"sub"`
	SID      string   `json:"sid"`
	ClientID string   `json:"client_id"`
	Roles    []string `json:"roles"`
	Exp      int64    `json:"exp"` // Unix seconds
}
