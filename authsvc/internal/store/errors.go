package store

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound is returned where a query or a change names a row that is not there.
	ErrNotFound = errors.New("not found")
	// ErrClosed is returned by writes after Close.
	ErrClosed = errors.New("database is closed")
)

// SchemaError is returned by [Open] for a database that a newer program has
// migrated: this one does not know what it would break.
type SchemaError struct {
	Found int64 // the database's schema version
	Known int64 // the newest version that this program knows
}

func (e *SchemaError) Error() string {
	return fmt.Sprintf("database has schema version %d, this program knows versions up to %d: use a newer program",
		e.Found, e.Known)
}

// NameTakenError is returned by [Tx.CreateAccount] where another account holds
// the user name or the e-mail address.
type NameTakenError struct {
	Field string // "username" or "email"
}

func (e *NameTakenError) Error() string { return e.Field + " is taken" }

// PanicError is returned by [DB.Write] where the given function panicked; what
// it had written is undone.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("write function panicked: %v", e.Value) }
