// Package field says which fields of a configuration cannot be right, and why, so that
// whoever set them can be told by the name under which they did.
//
//	var wrong field.Checks
//	wrong.Want(c.Issuer != "", "Issuer", "is required")
//	wrong.Add("Lifetime", checkLifetime(c.Lifetime))
//	if err := wrong.Err(); err != nil {
//		return fmt.Errorf("configuration: %w", err)
//	}
//	...
//	for _, mistake := range field.In(err) { // mistake.Field is "Issuer"
package field

import (
	"cmp"
	"errors"
)

// Error says why a field cannot be right.
type Error struct {
	// Field is its name in the configuration.
	Field string
	// Err is the reason.
	Err error
}

// Error names the field and the reason.
func (e *Error) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error for one field.
func New(field, reason string) error { return &Error{field, errors.New(reason)} }

// Checks collects the errors of all fields. Its zero value is ready.
type Checks struct{ wrong []error }

// Want takes down that a field is wrong unless ok. want says what it should be, as in
// "is required".
func (c *Checks) Want(ok bool, field, want string) {
	if !ok {
		c.wrong = append(c.wrong, New(field, want))
	}
}

// Add takes down why a field is wrong, unless the reason is nil.
func (c *Checks) Add(field string, reason error) {
	if reason != nil {
		c.wrong = append(c.wrong, &Error{field, reason})
	}
}

// Err joins what was taken down, or is nil.
func (c *Checks) Err() error { return errors.Join(c.wrong...) }

// In finds the errors of fields that err consists of or wraps, in their order.
func In(err error) []*Error {
	switch e := err.(type) { //nolint:errorlint // it walks the tree itself, to find all
	case nil:
		return nil
	case *Error:
		return []*Error{e}
	case interface{ Unwrap() error }:
		return In(e.Unwrap())
	case interface{ Unwrap() []error }:
		var found []*Error
		for _, part := range e.Unwrap() {
			found = append(found, In(part)...)
		}
		return found
	}
	return nil
}

// Rename returns the errors of fields in err, and gives those in names the names that
// they have in another configuration, from which the one that is wrong was made. An err
// without any is returned as it is.
func Rename(err error, names map[string]string) error {
	found := In(err)
	if len(found) == 0 {
		return err
	}
	var renamed Checks
	for _, wrong := range found {
		renamed.Add(cmp.Or(names[wrong.Field], wrong.Field), wrong.Err)
	}
	return renamed.Err()
}
