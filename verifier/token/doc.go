// Package token is the strict front of the verifier: it reads a JWT access token
// (RFC 9068, JWS compact form), checks its signature with exactly the key that
// its header names, and only then looks at its claims. It is also the side that
// mints such tokens, so that both ends share one definition.
//
//	keys, err := token.ParseJWKS(document)
//	profile, err := token.Profile{Issuer: issuer, Audience: "orders"}.Normalize()
//	claims, err := profile.Verify(raw, keys, time.Now())
//	if refused, ok := errors.AsType[*token.Error](err); ok { log.Print(refused.Reason) }
//
// # Shared secrets
//
// Public keys are the way to go. For those who insist there is HS256 with a
// [Secret], in a set of its own:
//
//	secret, err := token.ReadSecretFile("/run/secrets/tokens")
//	keys, err := token.NewSecretSet(secret)
//
// Every holder of a secret can mint tokens for everybody, so one service that is
// broken into is all of them. A [KeySet] has public keys or secrets, never both,
// and a set of one refuses the algorithms of the other before it looks for a key:
// so a public key can never be taken for a secret. Weak secrets are refused when
// they are made. No JWK Set has secrets in it, written or read.
//
// # What an accepted token has passed
//
// In this order, each step only after the one before it: at most 16 KiB; three
// segments of canonical base64url; a header that is one strict JSON object with
// an allowed algorithm, the type at+jwt and a known key of that same algorithm,
// and without anything that would change the rules (crit, b64, zip, enc, cty) or
// bring its own key (jku, jwk, x5u, x5c); a valid signature; claims that are one
// strict JSON object with every required claim in its right type; issuer,
// audience, lifetime; and time. So a token that is forged and expired is
// reported as forged, and nothing a forged token claims is looked at.
//
// Strict JSON here means UTF-8 without byte order mark or lone surrogates, no
// duplicate names at any depth (compared after unescaping), names in exact case,
// bounded depth and number of members, and nothing after the object. Unknown
// header parameters and claims are ignored, as RFC 7515 and RFC 7519 ask.
//
// # What it does not do
//
// It knows nothing of revocation: that is the verifier's part. It fetches
// nothing and logs nothing. An ES256 signature has a second valid spelling, so
// neither a token's bytes nor their hash identify it: use [Claims.Ref].
//
// # Concurrency
//
// A [KeySet] never changes. A [Profile] is a value. Everything here may be used
// from many goroutines at once.
package token
