package ca

// FieldError says which of the things that a caller gave is wrong, and why.
type FieldError struct {
	// Field is the Go name, such as "Lifetime" of a [Request], or "TrustDomain" and
	// "RootKey" for the arguments of those names.
	Field string
	Err   error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *FieldError) Unwrap() error { return e.Err }
