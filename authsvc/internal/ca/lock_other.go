//go:build !unix

package ca

import "errors"

// lock refuses where there is no flock: two processes could tear the records.
func lock(string) (unlock func(), err error) {
	return nil, errors.New("the CA needs a Unix system, whose locks keep its records whole")
}
