package token

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// word draws a text of at most 256 bytes without spaces, of any characters.
func word(minRunes int) *rapid.Generator[string] {
	return rapid.StringN(minRunes, 24, 256).Filter(func(s string) bool { return !strings.Contains(s, " ") })
}

// anyClaims draws claims that Sign must take and p accept at now.
func anyClaims(t *rapid.T, p Profile, now int64) Claims {
	name := rapid.StringN(1, 24, 256)
	iat := now - rapid.Int64Range(0, 1000).Draw(t, "age")
	return Claims{
		Issuer: p.Issuer, Subject: name.Draw(t, "sub"),
		Audience:  append(rapid.SliceOfN(name, 0, 3).Draw(t, "aud"), p.Audience),
		ExpiresAt: now + rapid.Int64Range(1, 2000).Draw(t, "left"), IssuedAt: iat,
		NotBefore: rapid.SampledFrom([]int64{0, iat, now}).Draw(t, "nbf"),
		ID:        name.Draw(t, "jti"), SessionID: rapid.StringN(0, 24, 256).Draw(t, "sid"), ClientID: rapid.StringN(0, 24, 256).Draw(t, "client_id"),
		Scope: rapid.SliceOfN(word(1), 0, 5).Draw(t, "scope"), Roles: rapid.SliceOfN(rapid.StringN(0, 24, 256), 0, 5).Draw(t, "roles"),
		AuthTime: rapid.Int64Range(0, now).Draw(t, "auth_time"), Rev: rapid.Uint64Range(0, maxInteger).Draw(t, "rev"),
	}
}

func TestWhatIsSignedIsWhatIsRead(t *testing.T) {
	keys := loadTestKeys(t)
	set, now := keys.set(t), time.Unix(vectorNow, 0)
	rapid.Check(t, func(rt *rapid.T) {
		want := anyClaims(rt, vectorProfile(), vectorNow)
		kid := rapid.SampledFrom([]string{edID, ecID}).Draw(rt, "kid")
		alg, signer := keys.signer(kid)
		raw, err := Sign(want, kid, alg, signer)
		if err != nil {
			rt.Fatal(err)
		}
		got, err := vectorProfile().Verify(raw, set, now)
		if err != nil {
			rt.Fatal(err)
		}
		want.KeyID = kid
		if !got.equal(&want) {
			rt.Fatalf("got %+v; want %+v", got, want)
		}
		agrees(t, raw, got, set, vectorProfile(), now)
	})
}

func TestEveryChangeOfOneByteIsRefused(t *testing.T) {
	keys := loadTestKeys(t)
	set, now := keys.set(t), time.Unix(vectorNow, 0)
	tokens := []string{signedToken(t, keys, edID), signedToken(t, keys, ecID), signedToken(t, keys, rsaID)}
	rapid.Check(t, func(rt *rapid.T) {
		raw := []byte(rapid.SampledFrom(tokens).Draw(rt, "token"))
		i := rapid.IntRange(0, len(raw)-1).Draw(rt, "place")
		was := raw[i]
		raw[i] = rapid.Byte().Filter(func(b byte) bool { return b != was }).Draw(rt, "byte")
		if _, err := vectorProfile().Verify(string(raw), set, now); err == nil {
			rt.Fatalf("accepted with byte %d changed from %q to %q", i, was, raw[i])
		}
	})
}

// All places, with every letter of the alphabet: rapid could miss the one lax bit.
func TestEveryLetterIsPartOfTheToken(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=\r\n"
	keys := loadTestKeys(t)
	set, now := keys.set(t), time.Unix(vectorNow, 0)
	good := signedToken(t, keys, edID)
	for i := range len(good) {
		for j := range len(alphabet) {
			if testing.Short() && i > 40 && i < len(good)-20 && j%8 != i%8 {
				continue
			}
			changed := good[:i] + alphabet[j:j+1] + good[i+1:]
			if changed == good {
				continue
			}
			if _, err := vectorProfile().Verify(changed, set, now); err == nil {
				t.Fatalf("accepted with byte %d changed to %q", i, alphabet[j])
			}
		}
	}
}

func TestEveryPrefixAndExtensionIsRefused(t *testing.T) {
	keys := loadTestKeys(t)
	set, now := keys.set(t), time.Unix(vectorNow, 0)
	good := signedToken(t, keys, rsaID)
	for i := range len(good) {
		for _, raw := range []string{good[:i], good[i+1:], good[:i] + good[i+1:], good[:i] + "A" + good[i:]} {
			if _, err := vectorProfile().Verify(raw, set, now); err == nil && raw != good {
				t.Fatalf("accepted with a piece missing or added at %d", i)
			}
		}
	}
}
