package authority

import (
	"fmt"
	"time"
)

// Code says why something was refused, in one stable word for programs.
type Code string

// The codes of a refusal.
const (
	// CodeInvalidInput means that Violations names what is wrong with the input.
	CodeInvalidInput Code = "invalid_input"
	// CodeAccountExists means that the user name or the e-mail address is in use; it does not say which.
	CodeAccountExists Code = "account_exists"
	// CodeInvalidCredentials is the one answer to an unknown account, a wrong
	// password, an account that is disabled or has failed too often.
	CodeInvalidCredentials Code = "invalid_credentials" //nolint:gosec // a code
	// CodeThrottled means that the address, or the account of a user who is
	// logged in, has failed too often: RetryAfter says when to try again.
	CodeThrottled Code = "throttled"
	// CodeBusy means that too many passwords are being checked at once.
	CodeBusy Code = "busy"
	// CodeInvalidToken means that the access token is not good, for whatever reason.
	CodeInvalidToken Code = "invalid_token"
	// CodeInvalidGrant means that the refresh token is not good, for whatever reason.
	CodeInvalidGrant Code = "invalid_grant"
	// CodeInsufficientAuthentication means that the login is too long ago for
	// this: MaxAge says how old it may be (RFC 9470 §3).
	CodeInsufficientAuthentication Code = "insufficient_user_authentication"
	// CodeForbidden means that the caller lacks the role.
	CodeForbidden Code = "forbidden"
	// CodeNotFound means that there is no such account, session, key or service
	// for this caller.
	CodeNotFound Code = "not_found"
	// CodeWrongPassword means that a user who is logged in gave a wrong current password.
	CodeWrongPassword Code = "wrong_password"
	// CodeInvalidClient means that a service is unknown or its secret is wrong.
	CodeInvalidClient Code = "invalid_client"
	// CodeServiceExists means that a service of this id exists.
	CodeServiceExists Code = "service_exists"
	// CodeTokenNotYours means that a service may not revoke a token that is not meant for it.
	CodeTokenNotYours Code = "token_not_yours"
	// CodeInvalidBootstrapSecret means that the secret is wrong, used, replaced or too old.
	CodeInvalidBootstrapSecret Code = "invalid_bootstrap_secret"
	// CodeAdminExists means that there is an admin already.
	CodeAdminExists Code = "admin_exists"
	// CodeCannotMint means that the secret that signs tokens has been killed and
	// not been replaced yet.
	CodeCannotMint Code = "cannot_mint"
	// CodeSharedSecret means that the key cannot be rotated here, because it is a
	// secret that the verifiers have to be given too.
	CodeSharedSecret Code = "shared_secret"
)

// Error is a refusal. Code and Message are for the caller; Reason and Err are not.
type Error struct {
	Code    Code
	Message string
	// Violations names everything that is wrong with the input.
	Violations []Violation
	// RetryAfter is when trying again may help; 0 where unknown.
	RetryAfter time.Duration
	// MaxAge goes with CodeInsufficientAuthentication.
	MaxAge time.Duration
	// Reason is the true cause in one stable word, for logs and metrics.
	Reason string
	// Err is the underlying error, if any.
	Err error
}

func (e *Error) Error() string {
	if e.Reason == "" {
		return string(e.Code) + ": " + e.Message
	}
	return fmt.Sprintf("%s (%s): %s", e.Code, e.Reason, e.Message)
}

// Unwrap returns the underlying error.
func (e *Error) Unwrap() error { return e.Err }

// Violation is one thing that is wrong with one field of the input.
type Violation struct {
	Field   string // as in JSON: "password"
	Code    string // stable: "too_short"
	Message string
}

func invalidInput(violations ...Violation) error {
	return &Error{Code: CodeInvalidInput, Message: "the input breaks the rules", Violations: violations}
}

func invalidToken(reason string, err error) error {
	return &Error{Code: CodeInvalidToken, Message: "please log in again", Reason: reason, Err: err}
}

func invalidGrant(reason string) error {
	return &Error{Code: CodeInvalidGrant, Message: "please log in again", Reason: reason}
}

func notFound(what string) error {
	return &Error{Code: CodeNotFound, Message: "no such " + what}
}

// The reasons of refusals that the token package does not name.
const (
	reasonUnknown     = "unknown"
	reasonAhead       = "rev_ahead"
	reasonRevoked     = "revoked"
	reasonRevokedKey  = "revoked_key"
	reasonInactive    = "account_inactive"
	reasonSessionOver = "session_over"
	reasonReuse       = "reuse"
	reasonOtherClient = "client_mismatch"
	reasonNotAnAdmin  = "not_admin"
	reasonLoginTooOld = "login_too_old"
)
