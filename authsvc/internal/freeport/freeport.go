// Package freeport finds addresses for tests of programs that must be told where to
// listen.
//
//	address := freeport.Address(t) // such as 127.0.0.1:17041
//
// A port that was free a moment ago may be taken by the next connection or listener
// that asks the system for any. So these are ports that systems do not give away by
// themselves, below 32768, and drawn at random, so that tests that run beside each
// other hardly draw the same.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Ports that are drawn from: above those of common servers, below those that Linux
// gives to whoever asks for any.
const first, last = 10_000, 32_000

// Address returns a loopback address on which nobody listens. It ends the test if it
// finds none.
func Address(t testing.TB) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(last-first))
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		return address
	}
	t.Fatal("no port is free")
	return ""
}
