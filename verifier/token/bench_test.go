package token

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"
)

// signedToken is a token as the auth service mints it.
func signedToken(tb testing.TB, keys testKeys, kid string) string {
	tb.Helper()
	alg, signer := keys.signer(kid)
	raw, err := Sign(goodClaims(), kid, alg, signer)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// Claims, their text, their lists, and golang-jwt's copy of what is signed.
const verifyAllocs = 4

// What golang-jwt makes for each MAC.
const macAllocs = 6

func TestVerifyAllocatesLittle(t *testing.T) {
	keys := loadTestKeys(t)
	raw, set, now := signedToken(t, keys, edID), keys.set(t), time.Unix(vectorNow, 0)
	got := testing.AllocsPerRun(100, func() {
		if _, err := vectorProfile().Verify(raw, set, now); err != nil {
			t.Fatal(err)
		}
	})
	if got > verifyAllocs {
		t.Errorf("Verify allocates %v times; want %d", got, verifyAllocs)
	}
}

func TestVerifyWithSecretAllocatesLittle(t *testing.T) {
	secrets := loadTestSecrets(t)
	raw, err := SignWithSecret(goodClaims(), secretOf(t, secrets.current))
	if err != nil {
		t.Fatal(err)
	}
	set, now := secrets.set(t), time.Unix(vectorNow, 0)
	got := testing.AllocsPerRun(100, func() {
		if _, err := vectorProfile().Verify(raw, set, now); err != nil {
			t.Fatal(err)
		}
	})
	if got > verifyAllocs+macAllocs {
		t.Errorf("Verify allocates %v times; want %d", got, verifyAllocs+macAllocs)
	}
}

func TestRefusalOfLargeTokensDoesNotAllocate(t *testing.T) {
	keys := loadTestKeys(t)
	set, now := keys.set(t), time.Unix(vectorNow, 0)
	for name, raw := range map[string]string{
		"1 MB of letters":          strings.Repeat("A", 1<<20),
		"1 MB of dots":             strings.Repeat(".", 1<<20),
		"1 MB after a good token":  signedToken(t, keys, edID) + strings.Repeat("A", 1<<20),
		"16 KiB of dots":           strings.Repeat(".", MaxSize),
		"16 KiB of letters":        strings.Repeat("A", MaxSize),
		"16 KiB outside base64url": ".." + strings.Repeat("%", MaxSize-2),
	} {
		t.Run(name, func(t *testing.T) {
			got := testing.AllocsPerRun(100, func() {
				if _, err := vectorProfile().Verify(raw, set, now); err == nil {
					t.Fatal("accepted")
				}
			})
			if got != 0 {
				t.Errorf("refusing allocates %v times", got)
			}
		})
	}
}

func TestCheckTimeDoesNotAllocate(t *testing.T) {
	c, p := goodClaims(), vectorProfile()
	for name, now := range map[string]time.Time{"alive": time.Unix(vectorNow, 0), "expired": time.Unix(vectorNow+6000, 0), "early": time.Unix(0, 0)} {
		if got := testing.AllocsPerRun(100, func() { _ = p.CheckTime(&c, now) }); got != 0 {
			t.Errorf("%s: CheckTime allocates %v times", name, got)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	keys := loadTestKeys(b)
	set, now, p := keys.set(b), time.Unix(vectorNow, 0), vectorProfile()
	for _, kid := range []string{edID, ecID, rsaID} {
		raw := signedToken(b, keys, kid)
		b.Run(kid, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Verify(raw, set, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("shared", func(b *testing.B) {
		secrets := loadTestSecrets(b)
		set := secrets.set(b)
		raw, err := SignWithSecret(goodClaims(), secretOf(b, secrets.current))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := p.Verify(raw, set, now); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRawEd25519 is what no verification of the same token can be faster than.
func BenchmarkRawEd25519(b *testing.B) {
	keys := loadTestKeys(b)
	f := forge{tb: b, keys: keys}
	input, sig := f.cut(signedToken(b, keys, edID))
	public, message := keys.ed.Public().(ed25519.PublicKey), []byte(input)
	b.ReportAllocs()
	for b.Loop() {
		if !ed25519.Verify(public, message, sig) {
			b.Fatal("not valid")
		}
	}
}

// BenchmarkReadClaims is what strictness costs besides the signature.
func BenchmarkReadClaims(b *testing.B) {
	payload := body()
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readClaims(payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckTime(b *testing.B) {
	c, p, now := goodClaims(), vectorProfile(), time.Unix(vectorNow, 0)
	b.ReportAllocs()
	for b.Loop() {
		if err := p.CheckTime(&c, now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRefuse(b *testing.B) {
	keys := loadTestKeys(b)
	f := forge{tb: b, keys: keys}
	all, now, p := keys.set(b), time.Unix(vectorNow, 0), vectorProfile()
	for name, raw := range map[string]string{
		"1 MB": strings.Repeat("A", 1<<20), "unknown kid": f.withHeader(set("kid", `"x"`)), "forged": flip(f.good(edID), 0),
		"16 KiB forged": flip(f.padded(MaxSize), 0),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Verify(raw, all, now); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}

func BenchmarkSign(b *testing.B) {
	keys := loadTestKeys(b)
	for _, kid := range []string{edID, ecID, rsaID} {
		alg, signer := keys.signer(kid)
		c := goodClaims()
		b.Run(kid, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Sign(c, kid, alg, signer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
