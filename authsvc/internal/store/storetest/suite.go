package storetest

import (
	"testing"

	"github.com/authbus/authbus/authsvc/internal/store"
)

// Run runs the conformance suite. open opens a fresh database for each test and
// closes it when the test ends.
func Run(t *testing.T, open func(t *testing.T) *store.DB) {
	t.Helper()
	groups := map[string]func(t *testing.T, open func(t *testing.T) *store.DB){
		"log":      testLog,
		"accounts": testAccounts,
	}
	for name, test := range groups {
		t.Run(name, func(t *testing.T) { test(t, open) })
	}
}
