package wire

// ProblemType is the media type of [Problem] (RFC 9457 §3).
const ProblemType = "application/problem+json"

// Problem is an error of the API (RFC 9457). Code is stable and for programs;
// Title and Detail are for people and may change.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
	// RequestID is what the service's log calls the request.
	RequestID string `json:"request_id,omitempty"`
	// Errors names everything that is wrong with the input.
	Errors []Violation `json:"errors,omitempty"`
	// OAuthError and OAuthDescription repeat the error for the callers of
	// introspection and revocation in the words of RFC 6749 §5.2.
	OAuthError       string `json:"error,omitempty"`
	OAuthDescription string `json:"error_description,omitempty"`
}

// Violation is one thing that is wrong with one field of the input.
type Violation struct {
	// Field is its name in the body, the URL or the form.
	Field string `json:"field"`
	// Code is stable: "required", "too_short", "unknown_field" …
	Code    string `json:"code"`
	Message string `json:"message"`
}
