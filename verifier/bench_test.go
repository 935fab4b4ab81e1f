package verifier

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/authbus/authbus/events"
)

// benchVerifier is fresh and stays so for the benchmark.
func benchVerifier(b *testing.B) (*Verifier, *memoryLog) {
	b.Helper()
	log := newMemoryLog()
	v := newBubbleVerifier(b, log, nil)
	b.Cleanup(v.Close)
	if err := v.awaitFresh(b.Context()); err != nil {
		b.Fatal(err)
	}
	return v, log
}

// BenchmarkVerify compares the cost of a verdict with that of the bare signature.
func BenchmarkVerify(b *testing.B) {
	ctx := context.Background()
	b.Run("seen before", func(b *testing.B) {
		v, log := benchVerifier(b)
		m := log.mint(b, "u", "s", "j")
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(ctx, m.raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("seen before, parallel", func(b *testing.B) {
		v, log := benchVerifier(b)
		m := log.mint(b, "u", "s", "j")
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := v.Verify(ctx, m.raw); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("seen before, after each of many revocations", func(b *testing.B) {
		v, log := benchVerifier(b)
		m := log.mint(b, "u", "s", "j")
		for i := range 10_000 {
			log.revoke(events.ScopeSession, fmt.Sprint(i))
		}
		b.ReportAllocs()
		for b.Loop() {
			v.ledger.generation.Add(1)
			if _, err := v.Verify(ctx, m.raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("first sight", func(b *testing.B) {
		v, log := benchVerifier(b)
		m := log.mint(b, "u", "s", "j")
		b.ReportAllocs()
		for b.Loop() {
			if t := v.tokens.get(m.raw); t != nil {
				v.tokens.remove(t)
			}
			if _, err := v.Verify(ctx, m.raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare Ed25519", func(b *testing.B) {
		_, log := benchVerifier(b)
		raw := log.mint(b, "u", "s", "j").raw
		dot := strings.LastIndexByte(raw, '.')
		input := []byte(raw[:dot])
		sig, err := base64.RawURLEncoding.DecodeString(raw[dot+1:])
		if err != nil {
			b.Fatal(err)
		}
		public := testKey.Public().(ed25519.PublicKey)
		b.ReportAllocs()
		for b.Loop() {
			if !ed25519.Verify(public, input, sig) {
				b.Fatal("the signature does not verify")
			}
		}
	})
}
