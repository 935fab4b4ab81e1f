package token_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/authbus/authbus/verifier/token"
)

func ExampleProfile_Verify() {
	// The auth service's side: a key, its published half, a token.
	private := ed25519.NewKeyFromSeed([]byte("only an example, never a secret."))
	document, err := token.MarshalJWKS([]token.Key{{ID: "2027-01", Alg: token.AlgEdDSA, Public: private.Public()}})
	if err != nil {
		panic(err)
	}
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	raw, err := token.Sign(token.Claims{
		Issuer: "https://auth.example", Subject: "u-1", Audience: []string{"orders"},
		IssuedAt: now.Unix(), ExpiresAt: now.Add(10 * time.Minute).Unix(), ID: "t-1", Scope: []string{"orders:read"},
	}, "2027-01", token.AlgEdDSA, private)
	if err != nil {
		panic(err)
	}

	// The service's side.
	keys, err := token.ParseJWKS(document)
	if err != nil {
		panic(err)
	}
	profile, err := token.Profile{Issuer: "https://auth.example", Audience: "orders"}.Normalize()
	if err != nil {
		panic(err)
	}
	claims, err := profile.Verify(raw, keys, now)
	if err != nil {
		panic(err)
	}
	fmt.Println(claims.Subject, claims.HasScope("orders:read"))

	_, err = profile.Verify(raw, keys, now.Add(time.Hour))
	if refused, ok := errors.AsType[*token.Error](err); ok {
		fmt.Println(refused.Reason)
	}
	// Output:
	// u-1 true
	// expired
}

func ExampleNewSecretSet() {
	// Both sides read the same secret, made by `openssl rand -base64 32`.
	secret, err := token.ParseSecret("q0vY9nS1uXyWc3pT7eJdLr5hKf8mGzAa2iBo6NtVQxE=")
	if err != nil {
		panic(err)
	}
	keys, err := token.NewSecretSet(secret)
	if err != nil {
		panic(err)
	}
	fmt.Println(secret, keys.Shared(), keys.Len())

	_, err = token.ParseSecret("your-256-bit-secret")
	fmt.Println(err)
	// Output:
	// [hidden] true 1
	// shared secret is a known default
}
