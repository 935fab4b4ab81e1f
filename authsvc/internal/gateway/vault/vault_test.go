package vault_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/events/eventstest"
)

var session = vault.Session{
	Access: "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ1XzEifQ.c2lnbmF0dXJl", Refresh: "r_the-refresh-token-in-clear-text",
	Sub: "u_ada", SID: "s_laptop", RefreshAt: 1, ExpiresAt: 2,
}

func open(t *testing.T, b *eventstest.Broker, c vault.Config) (*vault.Vault, jetstream.KeyValue) {
	t.Helper()
	js, err := jetstream.New(b.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Open(t.Context(), js, c)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), vault.DefaultBucket)
	if err != nil {
		t.Fatal(err)
	}
	return v, kv
}

func TestReplicasShareTheEntries(t *testing.T) {
	b := eventstest.NewBroker(t)
	one, _ := open(t, b, vault.Config{})
	two, _ := open(t, b, vault.Config{})
	token := vault.NewToken()
	made, err := one.Create(t.Context(), token, session)
	if err != nil {
		t.Fatal(err)
	}
	read, err := two.Get(t.Context(), token)
	if err != nil || read.Session != session {
		t.Fatalf("the other replica reads %v, %v", read.Session, err)
	}
	newer := session
	newer.Access = "newer"
	if _, err := two.Replace(t.Context(), token, read, newer); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Replace(t.Context(), token, made, session); !errors.Is(err, vault.ErrConflict) {
		t.Errorf("replacing what was replaced: %v, want ErrConflict", err)
	}
	if read, err := one.Get(t.Context(), token); err != nil || read.Access != "newer" {
		t.Errorf("read %v, %v", read.Session, err)
	}
	if err := one.Delete(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if _, err := two.Get(t.Context(), token); !errors.Is(err, vault.ErrNotFound) {
		t.Errorf("after it was deleted: %v, want ErrNotFound", err)
	}
	if err := two.Delete(t.Context(), token); err != nil {
		t.Errorf("deleting it again: %v", err)
	}
}

func TestTheBucketHoldsNothingUsable(t *testing.T) {
	b := eventstest.NewBroker(t)
	v, kv := open(t, b, vault.Config{})
	token := vault.NewToken()
	if _, err := v.Create(t.Context(), token, session); err != nil {
		t.Fatal(err)
	}
	entry, err := kv.Get(t.Context(), token.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{session.Access, session.Refresh, session.Sub, session.SID, token.Reveal(), token.Reveal()[4:]} {
		if bytes.Contains(entry.Value(), []byte(secret)) || strings.Contains(entry.Key(), secret) {
			t.Errorf("the entry shows %q", secret)
		}
	}
	other := vault.NewToken()
	if _, err := kv.Put(t.Context(), other.Name(), entry.Value()); err != nil {
		t.Fatal(err)
	}
	if e, err := v.Get(t.Context(), other); err == nil {
		t.Errorf("another token opens the entry: %v", e)
	} else if !errors.Is(err, vault.ErrDamaged) || errors.Is(err, vault.ErrNotFound) {
		t.Errorf("the entry of another token: %v, want ErrDamaged", err)
	}
	for i := range entry.Value() {
		tampered := bytes.Clone(entry.Value())
		tampered[i] ^= 1
		if _, err := kv.Put(t.Context(), token.Name(), tampered); err != nil {
			t.Fatal(err)
		}
		if e, err := v.Get(t.Context(), token); err == nil {
			t.Fatalf("an entry with byte %d changed opens as %v", i, e)
		} else if !errors.Is(err, vault.ErrDamaged) {
			t.Fatalf("an entry with byte %d changed: %v, want ErrDamaged", i, err)
		}
	}
}

// A replica that is behind, or cut off, would answer direct gets with what it has.
// A bucket of an earlier version is changed.
func TestOnlyTheLeaderIsRead(t *testing.T) {
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	_, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: vault.DefaultBucket, LimitMarkerTTL: time.Minute, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := open(t, b, vault.Config{})
	s, err := js.Stream(t.Context(), "KV_"+vault.DefaultBucket)
	if err != nil || s.CachedInfo().Config.AllowDirect {
		t.Fatalf("direct gets are allowed (%v)", err)
	}
	nc := b.Connect(t)
	asked, err := nc.SubscribeSync("$JS.API.>")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	if _, err := v.Get(t.Context(), vault.NewToken()); !errors.Is(err, vault.ErrNotFound) {
		t.Fatal(err)
	}
	msg, err := asked.NextMsg(10 * time.Second)
	if err != nil || msg.Subject != "$JS.API.STREAM.MSG.GET.KV_"+vault.DefaultBucket {
		t.Errorf("it asked %v, %v", msg, err)
	}
}

func TestEntriesExpire(t *testing.T) {
	b := eventstest.NewBroker(t)
	v, _ := open(t, b, vault.Config{Lifetime: 2 * time.Second})
	token := vault.NewToken()
	if _, err := v.Create(t.Context(), token, session); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		_, err := v.Get(t.Context(), token)
		if errors.Is(err, vault.ErrNotFound) {
			return
		}
		if err != nil || time.Since(began) > 10*time.Second {
			t.Fatalf("still there after %v (%v)", time.Since(began), err)
		}
	}
}

func TestTokensHaveOneSpelling(t *testing.T) {
	token := vault.NewToken()
	text := token.Reveal()
	if back, err := vault.ParseToken(text); err != nil || back != token {
		t.Fatalf("reading %q: %v", text, err)
	}
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", text[len(text)-1])
	alias := text[:len(text)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last^1])
	for _, wrong := range []string{
		"", "agw_", text[4:], text + "A", text[:len(text)-1], text + "=", " " + text, text + "\n", strings.ToUpper(text), alias,
		text[:10] + "\n" + text[11:], text[:10] + "+" + text[11:], "agw-" + text[4:],
	} {
		if _, err := vault.ParseToken(wrong); !errors.Is(err, vault.ErrToken) {
			t.Errorf("%q is taken for a token (%v)", wrong, err)
		}
	}
	if shown := fmt.Sprintf("%v %+v %#v %s", token, token, token, token); strings.Contains(shown, text[4:]) || strings.Contains(shown, "random") {
		t.Errorf("it shows itself: %s", shown)
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(vault.NewToken().Reveal())
	f.Add("agw_")
	f.Fuzz(func(t *testing.T, text string) {
		if token, err := vault.ParseToken(text); err == nil && token.Reveal() != text {
			t.Errorf("%q and %q are the same token", text, token.Reveal())
		}
	})
}

func TestTokensAreFoundInTexts(t *testing.T) {
	token := vault.NewToken().Reveal()
	for text, want := range map[string]bool{
		"": false, "agw_": false, "agw_agw_": false, token[1:]: false, token[:len(token)-1]: false, "AGW" + token[3:]: false,
		token[:len(token)-1] + " ": false, "agw_" + token[:20]: false,
		token: true, "agw_" + token: true, "agw_" + token[:20] + token: true, "a=" + token + "; b": true, token + token: true, token + "x": true,
	} {
		if got := vault.HoldsToken(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
