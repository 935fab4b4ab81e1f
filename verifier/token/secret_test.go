package token

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSecretsAreRefused(t *testing.T) {
	doc, err := os.ReadFile("testdata/secrets/refused.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name, Want string
		Text, Hex  *string
	}
	if err := json.Unmarshal(doc, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			var s Secret
			var err error
			if c.Hex != nil {
				s, err = NewSecret([]byte(unhex(t, *c.Hex)))
			} else {
				s, err = ParseSecret(*c.Text)
			}
			if !s.IsZero() || err == nil || !strings.Contains(err.Error(), c.Want) {
				t.Errorf("%v, %v; want a refusal with %q", s, err, c.Want)
			}
		})
	}
}

// Everything that is known of a key pair, and how it is passed around.
func TestKeysAreNoSecrets(t *testing.T) {
	keys := loadTestKeys(t)
	f := forge{tb: t, keys: keys}
	forms := map[string][]byte{}
	for _, kid := range []string{edID, ecID, rsaID} {
		for form, b := range f.publicForms(kid) {
			forms[kid+" as "+form] = b
		}
		_, signer := keys.signer(kid)
		der, err := x509.MarshalPKCS8PrivateKey(signer)
		if err != nil {
			t.Fatal(err)
		}
		forms[kid+", private"] = der
		forms[kid+", certificate"] = certificate(t, signer)
	}
	forms["rsa-1, PKCS #1"] = x509.MarshalPKCS1PublicKey(&keys.rsa.PublicKey)
	delete(forms, edID+" as bytes") // as random as any: refused where the key is known
	for name, b := range forms {
		for form, b := range map[string][]byte{
			name: b, name + " in PEM": pem.EncodeToMemory(&pem.Block{Type: "KEY", Bytes: b}), name + " and a line end": slices.Concat(b, []byte("\r\n")),
		} {
			_, err := NewSecret(b)
			_, textErr := ParseSecret(base64.StdEncoding.EncodeToString(b))
			if !errors.Is(err, errPublicSecret) || !errors.Is(textErr, errPublicSecret) {
				t.Errorf("%s: %v, and in base64: %v", form, err, textErr)
			}
		}
	}
}

func certificate(t *testing.T, signer crypto.Signer) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(vectorNow, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestRandomSecretsAreTaken(t *testing.T) {
	sizes := []int{32, 33, 44, 48, 64, 65, 128, 1024}
	for i := range 4_000 {
		b := make([]byte, sizes[i%len(sizes)])
		_, _ = rand.Read(b) // never fails
		s, err := NewSecret(b)
		if err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawURLEncoding} {
			if same, err := ParseSecret(enc.EncodeToString(b)); err != nil || same.ID() != s.ID() {
				t.Fatalf("%x as text: %v", b, err)
			}
		}
	}
	if _, err := NewSecret(make([]byte, maxSecret+1)); err == nil {
		t.Error("1025 bytes were taken")
	}
}

// TestSecretsThatOnlyLookWeak were drawn at random, or might have been: to the eye
// that looks at a part of them they are key, none or the line of an SSH key.
func TestSecretsThatOnlyLookWeak(t *testing.T) {
	for _, text := range []string{
		"LT399nTH4MbXfRFFAZe1fPQGfo1eX1N0rcgo9hWT_gA=", "5T9uDZwGBrH84z17sQt7oG9gPW76DcYu_ZoHLF7IZd8=",
		"4gzNLdSs2AsMO6UP7iiQBOe0w2tARfpZIXyQXJG2liA=", "PQu2y9HewoKPzh2hwf_ofUCPtmsq37BF0eSRoVntI4U=",
		"ssh-EwKPzh2hwf_ofUCPtmsq37BF0eSRoVntI4UPQu8=", "c3NoLZ1cBhTqY7iF0mXv4Kw8RzLuEaJdPoN6gQ9sVtE=",
	} {
		if _, err := ParseSecret(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestTextOfASecretIsOne(t *testing.T) {
	b := loadTestSecrets(t).current
	want := secretOf(t, b)
	text := base64.StdEncoding.EncodeToString(b)
	for name, text := range map[string]string{
		"as it is": text, "line end": text + "\n", "CR LF": text + "\r\n", "white space": "  \t" + text + " \n\n",
		"no padding": strings.TrimRight(text, "="), "URL alphabet": base64.URLEncoding.EncodeToString(b), "in two lines": text[:20] + "\n" + text[20:] + "\n",
	} {
		got, err := ParseSecret(text)
		if err != nil || got.ID() != want.ID() || !got.Is(b) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSecretsAreNamedByThemselves(t *testing.T) {
	s := loadTestSecrets(t)
	// Fixed for good: both sides derive it, each in its own version of this code.
	const want = "hs_4mdbjdcqlog54pfeiiezdesa3u"
	id := secretOf(t, s.current).ID()
	if id != want {
		t.Errorf("ID is %q; want %q", id, want)
	}
	if id == secretOf(t, s.previous).ID() || id != secretOf(t, bytes.Clone(s.current)).ID() {
		t.Error("the ID is not that of the bytes")
	}
	if (Secret{}).ID() != "" || (Secret{}).Is(nil) || !(Secret{}).IsZero() {
		t.Error("the zero Secret holds something")
	}
}

func TestASecretIsACopy(t *testing.T) {
	b := bytes.Clone(loadTestSecrets(t).current)
	s := secretOf(t, b)
	clear(b)
	if !s.Is(loadTestSecrets(t).current) {
		t.Error("the secret changed with the bytes that it was made of")
	}
}

func TestSecretsHideThemselves(t *testing.T) {
	b := loadTestSecrets(t).current
	s := secretOf(t, b)
	type config struct {
		Public  Secret
		private Secret
		pointer *Secret
	}
	c := config{s, s, &s}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%T"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", c)
		fmt.Fprintf(&out, verb+"\n", &c)
		fmt.Fprintf(&out, verb+"\n", []any{s, map[string]any{"k": s}})
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "secret", s, "config", c, "pointer", &s)
	}
	doc, err := json.Marshal(map[string]any{"s": s, "c": c})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(doc)
	var into struct{ S Secret }
	if err := json.Unmarshal([]byte(`{"S":"`+base64.StdEncoding.EncodeToString(b)+`"}`), &into); err == nil {
		t.Error("a secret was read from JSON, around the checks")
	}
	text := out.String()
	list := strings.Trim(fmt.Sprintf("%d", b), "[]") // 12 34 …
	for form, leak := range map[string]string{
		"bytes": string(b[:4]), "hex": hex.EncodeToString(b[:4]), "HEX": strings.ToUpper(hex.EncodeToString(b[:4])),
		"list": strings.Join(strings.Fields(list)[:4], " "), "base64": base64.StdEncoding.EncodeToString(b)[:6],
	} {
		if strings.Contains(text, leak) {
			t.Errorf("the secret shows as %s: %s", form, text)
		}
	}
	if !strings.Contains(text, hidden) {
		t.Error("nothing says that something is hidden")
	}
}

func TestReadSecretFile(t *testing.T) {
	b := loadTestSecrets(t).current
	text := base64.StdEncoding.EncodeToString(b)
	for _, tt := range []struct {
		name, content string
		mode          os.FileMode
		want          string
	}{
		{"good", text, 0o600, ""},
		{"with a line end", text + "\n", 0o600, ""},
		{"read-only", text, 0o400, ""},
		{"readable by the group", text, 0o640, "others may read"},
		{"readable by others", text, 0o604, "others may read"},
		{"writable by others", text, 0o602, "others may read or write"},
		{"the bytes themselves", string(b), 0o600, "not base64"},
		{"empty", "", 0o600, "is empty"},
		{"a certificate", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate(t, loadTestKeys(t).rsa)})), 0o600, "certificate"},
		{"too large", strings.Repeat("A", 1<<20), 0o600, "too large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			s, err := ReadSecretFile(path)
			if tt.want == "" {
				if err != nil || !s.Is(b) {
					t.Error(err)
				}
				return
			}
			if err == nil || !s.IsZero() || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v; want an error with the path and %q", err, tt.want)
			}
		})
	}
	if _, err := ReadSecretFile(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestASetIsOfSecretsOrOfPublicKeys(t *testing.T) {
	s := secretOf(t, loadTestSecrets(t).current)
	public := loadTestKeys(t).public()[0]
	for name, err := range map[string]error{
		"a key for HS256":              errOf(NewKeySet(public, Key{ID: s.ID(), Alg: AlgHS256})),
		"a key for HS256 with a value": errOf(NewKeySet(Key{ID: s.ID(), Alg: AlgHS256, Public: []byte("secret")})),
		"as JWKS":                      errOf(MarshalJWKS([]Key{{ID: s.ID(), Alg: AlgHS256}})),
	} {
		if !errors.Is(err, ErrMixed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, secrets := range map[string][]Secret{"missing": {s, {}}, "twice": {s, s}} {
		if set, err := NewSecretSet(secrets...); set != nil || err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	set, err := NewSecretSet(s)
	if err != nil || !set.Shared() || set.Len() != 1 || loadTestKeys(t).set(t).Shared() || (*KeySet)(nil).Shared() {
		t.Errorf("%v, %v", set, err)
	}
	// What is told of a secret is its id.
	k, ok := set.Lookup(s.ID())
	if want := (Key{ID: s.ID(), Alg: AlgHS256}); !ok || k != want {
		t.Errorf("Lookup = %+v", k)
	}
	if _, err := MarshalJWKS(set.Keys()); !errors.Is(err, ErrMixed) {
		t.Errorf("secrets as JWKS: %v", err)
	}
	empty, err := NewSecretSet()
	if err != nil {
		t.Fatal(err)
	}
	raw := (forge{tb: t}).goodShared(loadTestSecrets(t).current)
	if _, err := vectorProfile().Verify(raw, empty, time.Unix(vectorNow, 0)); reasonOf(t, err) != ReasonUnknownKID {
		t.Errorf("an empty set: %v", err)
	}
}

func errOf[T any](_ T, err error) error { return err }

func TestSignWithSecret(t *testing.T) {
	secrets := loadTestSecrets(t)
	s := secretOf(t, secrets.current)
	raw, err := SignWithSecret(goodClaims(), s)
	if err != nil {
		t.Fatal(err)
	}
	header, _ := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[0])
	if want := `{"alg":"HS256","typ":"at+jwt","kid":"` + s.ID() + `"}`; string(header) != want {
		t.Errorf("header %s; want %s", header, want)
	}
	want := goodClaims()
	want.KeyID = s.ID()
	got, err := vectorProfile().Verify(raw, secrets.set(t), time.Unix(vectorNow, 0))
	if err != nil || !got.equal(&want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if _, err := vectorProfile().Verify(raw, loadTestKeys(t).set(t), time.Unix(vectorNow, 0)); reasonOf(t, err) != ReasonAlgNotAllowed {
		t.Errorf("with public keys: %v", err)
	}
	if raw, err := SignWithSecret(goodClaims(), Secret{}); raw != "" || err == nil {
		t.Error("the zero Secret signs")
	}
	bad := goodClaims()
	bad.Subject = ""
	if raw, err := SignWithSecret(bad, s); raw != "" || err == nil {
		t.Error("signed without a subject")
	}
	keys := loadTestKeys(t)
	if raw, err := Sign(goodClaims(), s.ID(), AlgHS256, keys.ed); raw != "" || err == nil || !strings.Contains(err.Error(), "Secret") {
		t.Errorf("Sign takes HS256 and a private key: %v", err)
	}
}

// FuzzParseSecret: no text makes it panic, nothing refused is returned, and what
// is taken is at least 32 bytes that its own text gives again.
func FuzzParseSecret(f *testing.F) {
	f.Add(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1, 2, 3, 4, 250, 99}, 8)))
	f.Add("secret")
	f.Add("{}")
	f.Add("MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
	f.Add("iTt8ZlqBw0f1e5Jr7o2mXcVhGkPqLs9dAyUvEbNnRz4=")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSecret(text)
		if (err == nil) == s.IsZero() {
			t.Fatalf("%v along with %v", s, err)
		}
		if err != nil {
			if len(err.Error()) > 200 {
				t.Errorf("the error is %d bytes long", len(err.Error()))
			}
			return
		}
		b := s.held().bytes()
		again, err := ParseSecret(base64.RawURLEncoding.EncodeToString(b))
		if err != nil || len(b) < minSecret || again.ID() != s.ID() {
			t.Errorf("%q gives %x, and that %v", text, b, err)
		}
	})
}
