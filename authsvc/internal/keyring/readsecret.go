package keyring

import (
	"errors"

	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/verifier/token"
)

// ReadSecret reads a shared secret from its text or from a file; without either it is
// the zero Secret. What is wrong is taken down for the field name or, of a file, for the
// one beside it, nameFile.
func ReadSecret(wrong *field.Checks, name, text, path string) (s token.Secret) {
	var err error
	switch {
	case text != "" && path != "":
		err = errors.New("cannot go with the secret as text")
		name += "File"
	case text != "":
		s, err = token.ParseSecret(text)
	case path != "":
		s, err = token.ReadSecretFile(path)
		name += "File"
	}
	wrong.Add(name, err)
	return s
}
