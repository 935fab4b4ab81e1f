package events_test

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"github.com/authbus/authbus/events"
)

// samples returns an empty struct of each type of event.
func samples() []events.Data {
	return []events.Data{
		events.AccountRegistered{},
		events.AccountDisabled{},
		events.AccountEnabled{},
		events.AccountDeleted{},
		events.PasswordChanged{},
		events.LoginSucceeded{},
		events.LoginFailed{},
		events.SessionRefreshed{},
		events.SessionEnded{},
		events.SessionRevoked{},
		events.SessionReuseDetected{},
		events.TokenRevoked{},
		events.UserRevoked{},
		events.EveryoneRevoked{},
		events.KeyPublished{},
		events.KeyActivated{},
		events.KeyRetired{},
		events.KeyRevoked{},
		events.CertificateRevoked{},
	}
}

// messages returns an empty struct of every message that is no event.
func messages() []any {
	return []any{
		events.FreshRequest{},
		events.FreshReply{},
		events.RangeRequest{},
		events.RangeReply{},
		events.StatusRequest{},
		events.StatusReply{},
		events.KeysRequest{},
		events.KeysReply{},
		events.VerifyRequest{},
		events.VerifyReply{},
		events.CARenewRequest{},
		events.CARenewReply{},
		events.Revocation{},
	}
}

func drawEvent(t *rapid.T, sample events.Data) events.Event {
	data := drawStruct(t, reflect.TypeOf(sample)).Interface()
	return events.Event{
		ID:       rapid.StringOfN(rapid.RuneFrom(nil, printable()), 1, 128, 128).Draw(t, "id"),
		Source:   rapid.SampledFrom([]string{"https://auth.example.com", "urn:x:y", "/auth", "https://[::1]:8080/é"}).Draw(t, "source"),
		Time:     time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC(),
		Sequence: rapid.Uint64Min(1).Draw(t, "sequence"),
		Data:     data.(events.Data),
	}
}

// printable is ASCII without controls and spaces.
func printable() *unicode.RangeTable {
	return &unicode.RangeTable{R16: []unicode.Range16{{Lo: '!', Hi: '~', Stride: 1}}, LatinOffset: 1}
}

// drawStruct draws a valid value of a struct from its validate tags, at the
// bounds more often than not.
func drawStruct(t *rapid.T, typ reflect.Type) reflect.Value {
	if typ == reflect.TypeFor[events.Revocation]() {
		return reflect.ValueOf(drawRevocation(t))
	}
	v := reflect.New(typ).Elem()
	for i := range typ.NumField() {
		v.Field(i).Set(drawField(t, typ.Field(i)))
	}
	return v
}

func drawField(t *rapid.T, f reflect.StructField) reflect.Value {
	rules := map[string]string{}
	for rule := range strings.SplitSeq(f.Tag.Get("validate"), ",") {
		name, param, _ := strings.Cut(rule, "=")
		rules[name] = param
	}
	_, required := rules["required"]
	low, high := bound(rules["min"], 0), bound(rules["max"], 1<<40)
	if required {
		low = max(low, 1)
	}
	if exact := bound(rules["len"], 0); exact > 0 {
		low, high = exact, exact
	}
	switch v := reflect.New(f.Type).Elem(); {
	case f.Type == reflect.TypeFor[json.RawMessage]():
		return reflect.ValueOf(drawRaw(t, f.Name))
	case f.Type == reflect.TypeFor[[]json.RawMessage]():
		return reflect.ValueOf(rapid.SliceOfN(rapid.Custom(drawRecord), -1, 3).Draw(t, f.Name))
	case f.Name == "Public":
		v.SetBytes(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, f.Name))
		return v
	case rules["oneof"] != "":
		v.SetString(rapid.SampledFrom(strings.Fields(rules["oneof"])).Draw(t, f.Name))
		return v
	case f.Type == reflect.TypeFor[[]string](): // rules are those behind dive
		words := rapid.Custom(func(t *rapid.T) string { return drawText(t, f.Name, int(low), int(high)) })
		return reflect.ValueOf(rapid.SliceOfN(words, -1, 3).Draw(t, f.Name))
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(f.Type, rapid.IntRange(int(low), 3).Draw(t, f.Name), 3))
		for i := range v.Len() {
			v.Index(i).Set(drawStruct(t, f.Type.Elem()))
		}
		return v
	case v.Kind() == reflect.Struct:
		return drawStruct(t, f.Type)
	case v.Kind() == reflect.String:
		v.SetString(drawText(t, f.Name, int(low), int(high)))
		return v
	case v.Kind() == reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, f.Name))
		return v
	case v.CanUint():
		v.SetUint(rapid.Uint64Min(uint64(max(low, 0))).Draw(t, f.Name))
		return v
	default:
		v.SetInt(rapid.Int64Range(low, high).Draw(t, f.Name))
		return v
	}
}

func bound(param string, without int64) int64 {
	if n, err := strconv.ParseInt(param, 10, 64); err == nil {
		return n
	}
	return without
}

// drawText draws text of low to high characters.
func drawText(t *rapid.T, label string, low, high int) string {
	if rapid.IntRange(0, 3).Draw(t, label+" at its bound") == 0 {
		return strings.Repeat(rapid.SampledFrom([]string{"x", "é", "𝔘"}).Draw(t, label), high)
	}
	return rapid.StringN(low, min(high, low+20), -1).Draw(t, label)
}

func drawRaw(t *rapid.T, field string) json.RawMessage {
	if field == "JWKS" {
		return json.RawMessage(`{"keys":[{"kty":"OKP"}]}`)
	}
	return json.RawMessage(rapid.SampledFrom([]string{`{}`, `{"sub":"u","aud":["a"],"X":null}`}).Draw(t, field))
}

func drawRecord(t *rapid.T) json.RawMessage {
	doc, err := json.Marshal(drawRevocation(t))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func drawRevocation(t *rapid.T) events.Revocation {
	r := events.Revocation{
		Version: events.RevocationVersion,
		Epoch:   drawText(t, "epoch", 1, 64),
		Rev:     rapid.Uint64Min(1).Draw(t, "rev"),
		Scope: rapid.SampledFrom([]events.Scope{
			events.ScopeToken, events.ScopeSession, events.ScopeUser, events.ScopeEveryone, events.ScopeKey, events.ScopeCert,
		}).Draw(t, "scope"),
		ExpiresAt: rapid.Int64Min(1).Draw(t, "expires_at"),
		Reason:    rapid.String().Draw(t, "reason"),
		At:        rapid.Int64().Draw(t, "at"),
	}
	if r.Scope != events.ScopeEveryone {
		r.ID = rapid.StringN(1, 64, 256).Draw(t, "id")
	}
	return r
}

// TestSamplesAreComplete keeps the lists of this file in step with the contract.
func TestSamplesAreComplete(t *testing.T) {
	seen := map[events.Type]bool{}
	for _, s := range samples() {
		seen[s.Type()] = true
	}
	for _, typ := range events.Types() {
		if !seen[typ] {
			t.Errorf("no sample of type %s", typ)
		}
	}
	if len(seen) != len(events.Types()) {
		t.Errorf("%d types have samples, the contract has %d", len(seen), len(events.Types()))
	}
}
