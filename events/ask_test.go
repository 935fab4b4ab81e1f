package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/events/eventstest"
)

// authority answers every request on subject with answer's message.
func authority(t *testing.T, nc *nats.Conn, subject string, answer func(payload []byte) *nats.Msg) {
	t.Helper()
	sub, err := nc.Subscribe(subject, func(msg *nats.Msg) {
		if err := msg.RespondMsg(answer(msg.Data)); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// signed is a reply as the authority sends it.
func signed(t *testing.T, subject string, reply any) *nats.Msg {
	payload, err := json.Marshal(reply)
	if err != nil {
		t.Error(err)
	}
	_, private := feedKey('a')
	return &nats.Msg{Header: events.Sign("f1", private, subject, payload), Data: payload}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	nc := eventstest.NewBroker(t).Connect(t)
	public, _ := feedKey('a')
	keys := events.FeedKeys([]events.FeedKey{{ID: "f1", Public: public}})
	state := events.FreshReply{Epoch: "e", Rev: 7, Floor: 3, Now: 1}

	forged := events.ErrForgedReply
	tests := map[string]struct {
		answer  func(req events.FreshRequest) *nats.Msg
		want    error
		invalid bool
	}{
		"a signed answer": {func(req events.FreshRequest) *nats.Msg {
			return signed(t, events.SubjectFresh, reply(state, req.Nonce))
		}, nil, false},
		"an answer to another request": {func(events.FreshRequest) *nats.Msg {
			return signed(t, events.SubjectFresh, reply(state, events.NewNonce()))
		}, forged, false},
		"an answer signed for another subject": {func(req events.FreshRequest) *nats.Msg {
			return signed(t, events.SubjectRange, reply(state, req.Nonce))
		}, forged, false},
		"an answer changed on the way": {func(req events.FreshRequest) *nats.Msg {
			msg := signed(t, events.SubjectFresh, reply(state, req.Nonce))
			msg.Data = append(msg.Data, ' ')
			return msg
		}, forged, false},
		"an answer without signature": {func(req events.FreshRequest) *nats.Msg {
			msg := signed(t, events.SubjectFresh, reply(state, req.Nonce))
			msg.Header = nil
			return msg
		}, forged, false},
		"an answer that breaks the schema": {func(req events.FreshRequest) *nats.Msg {
			return signed(t, events.SubjectFresh, reply(events.FreshReply{Epoch: "e"}, req.Nonce))
		}, nil, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			authority(t, nc, events.SubjectFresh, func(payload []byte) *nats.Msg {
				var req events.FreshRequest
				if err := events.DecodeRequest(payload, &req); err != nil {
					t.Error(err)
				}
				return tc.answer(req)
			})
			var got events.FreshReply
			err := events.Request(t.Context(), nc, keys, freshRequest(), &got)
			var invalid *events.ValidationError
			if (!tc.invalid && !errors.Is(err, tc.want)) || errors.As(err, &invalid) != tc.invalid {
				t.Fatalf("error is %v, want %v, and one about the schema: %v", err, tc.want, tc.invalid)
			}
			if err == nil && got.Rev != 7 {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func freshRequest() *events.FreshRequest {
	return &events.FreshRequest{Verifier: "orders", Instance: "1", StaleMS: -1, MaxStaleMS: 30000}
}

func reply(state events.FreshReply, nonce string) events.FreshReply {
	state.Nonce = nonce
	return state
}

func TestRequestFails(t *testing.T) {
	t.Parallel()
	nc := eventstest.NewBroker(t).Connect(t)
	var got events.FreshReply
	if err := events.Request(t.Context(), nc, nil, freshRequest(), &got); !errors.Is(err, events.ErrNoAuthority) {
		t.Errorf("with nobody there: %v", err)
	}
	var invalid *events.ValidationError
	if err := events.Request(t.Context(), nc, nil, &events.FreshRequest{}, &got); !errors.As(err, &invalid) {
		t.Errorf("an invalid request: %v", err)
	}

	service, err := micro.AddService(nc, micro.Config{
		Name: events.ServiceAuthority, Version: "1.0.0",
		Endpoint: &micro.EndpointConfig{
			Subject: events.SubjectFresh,
			Handler: micro.HandlerFunc(func(r micro.Request) {
				if err := r.Error(events.CodeOverloaded, "ask again later", nil); err != nil {
					t.Error(err)
				}
			}),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = service.Stop() }()
	var refused *events.RequestError
	err = events.Request(t.Context(), nc, nil, freshRequest(), &got)
	if !errors.As(err, &refused) || refused.Code != events.CodeOverloaded || refused.Description != "ask again later" {
		t.Errorf("a refusal by the micro service: %v", err)
	}

	silent, err := nc.SubscribeSync(events.SubjectRange)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Unsubscribe() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err = events.Request(ctx, nc, nil, &events.RangeRequest{Limit: 1}, &events.RangeReply{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no answer in time: %v", err)
	}
}

func TestRequestKeys(t *testing.T) {
	t.Parallel()
	nc := eventstest.NewBroker(t).Connect(t)
	public, _ := feedKey('a')
	other, _ := feedKey('b')
	for name, tc := range map[string]struct {
		feed []events.FeedKey
		want error
	}{
		"signed by a key in the answer":   {[]events.FeedKey{{ID: "f0", Public: other}, {ID: "f1", Public: public}}, nil},
		"signed by none in the answer":    {[]events.FeedKey{{ID: "f1", Public: other}}, events.ErrForgedReply},
		"an answer without any feed keys": {nil, events.ErrForgedReply},
	} {
		t.Run(name, func(t *testing.T) {
			authority(t, nc, events.SubjectKeys, func(payload []byte) *nats.Msg {
				var req events.KeysRequest
				if err := events.DecodeRequest(payload, &req); err != nil {
					t.Error(err)
				}
				return signed(t, events.SubjectKeys, events.KeysReply{
					Nonce: req.Nonce, Issuer: "https://auth.example.test", JWKS: []byte(`{"keys":[]}`), Feed: tc.feed, Keys: 1,
				})
			})
			got, err := events.RequestKeys(t.Context(), nc)
			if !errors.Is(err, tc.want) || (err == nil && len(got.Feed) != len(tc.feed)) {
				t.Errorf("got %+v, %v, want error %v", got, err, tc.want)
			}
		})
	}
}

func TestDecodeRequestRefuses(t *testing.T) {
	for name, payload := range map[string]string{
		"nothing":             ``,
		"not JSON":            `{"nonce":`,
		"no nonce":            `{"token":{"jti":"t","sub":"u","kid":"k","exp":1}}`,
		"no token":            `{"nonce":"n"}`,
		"a duplicate name":    `{"nonce":"n","nonce":"m","token":{"jti":"t","sub":"u","kid":"k","exp":1}}`,
		"another case":        `{"Nonce":"n","token":{"jti":"t","sub":"u","kid":"k","exp":1}}`,
		"a name inside twice": `{"nonce":"n","token":{"jti":"t","jti":"x","sub":"u","kid":"k","exp":1}}`,
		"null":                `{"nonce":"n","token":null}`,
		"a quoted number":     `{"nonce":"n","token":{"jti":"t","sub":"u","kid":"k","exp":"1"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := events.DecodeRequest([]byte(payload), &events.StatusRequest{}); err == nil {
				t.Error("was accepted")
			}
		})
	}
}

func TestNewNonce(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		n := events.NewNonce()
		if len(n) < 22 || len(n) > 64 || seen[n] {
			t.Fatalf("nonce %q is short, long or a repeat", n)
		}
		seen[n] = true
	}
}
