package broker_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/authbus/authbus/authsvc/internal/node/broker"
	"github.com/authbus/authbus/events"
)

func start(t *testing.T) *broker.Broker {
	t.Helper()
	b, err := broker.Start(broker.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func connect(t *testing.T, b *broker.Broker, opts ...nats.Option) *nats.Conn {
	t.Helper()
	opts = append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	nc, err := nats.Connect(b.URL(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func streams(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := events.EnsureStreams(t.Context(), js, events.StreamOptions{}); err != nil {
		t.Fatal(err)
	}
	return js
}

func messages(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	stream, err := js.Stream(t.Context(), events.StreamRevocations)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

func TestStopAndStartKeepAddressDataAndConnections(t *testing.T) {
	b := start(t)
	nc := connect(t, b, b.Options(broker.Publisher)...)
	js := streams(t, nc)
	if _, err := js.Publish(t.Context(), "auth.revocations.token", []byte("x")); err != nil {
		t.Fatal(err)
	}
	url, reconnected := b.URL(), make(chan struct{})
	nc.SetReconnectHandler(func(*nats.Conn) { close(reconnected) })
	b.Stop()
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-reconnected:
	case <-time.After(10 * time.Second):
		t.Fatal("the in-process connection did not come back")
	}
	if b.URL() != url || messages(t, js) != 1 {
		t.Errorf("after the restart: %s with %d messages, want %s with 1", b.URL(), messages(t, js), url)
	}
}

func TestPermissions(t *testing.T) {
	b := start(t)
	js := streams(t, connect(t, b, b.Options(broker.Publisher)...))
	for _, tc := range []struct {
		name    string
		opts    []nats.Option
		subject string
	}{
		{"anyone publishing a revocation", nil, "auth.revocations.token"},
		{"anyone publishing an event", nil, "auth.events.login.succeeded.u_x"},
		{"anyone deleting the feed", nil, "$JS.API.STREAM.DELETE.AUTH_REVOCATIONS"},
		{"anyone changing the feed", nil, "$JS.API.STREAM.UPDATE.AUTH_REVOCATIONS"},
		{"the answerer publishing a revocation", b.Options(broker.Answerer), "auth.revocations.token"},
		{"the answerer sending a request", b.Options(broker.Answerer), "auth.verify"},
		{"the answerer using JetStream", b.Options(broker.Answerer), "$JS.API.STREAM.NAMES"},
	} {
		t.Run(tc.name+" is refused", func(t *testing.T) {
			refused := make(chan error, 8)
			opts := append(tc.opts, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
			nc := connect(t, b, opts...)
			if err := nc.Publish(tc.subject, []byte("{}")); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-refused:
				if !errors.Is(err, nats.ErrPermissionViolation) {
					t.Errorf("error %v, want a permissions violation", err)
				}
			case <-time.After(5 * time.Second):
				t.Error("was not refused")
			}
			if n := messages(t, js); n != 0 {
				t.Errorf("the feed holds %d messages, want none", n)
			}
		})
	}
}

func TestAnyoneCanReadTheStreams(t *testing.T) {
	b := start(t)
	streams(t, connect(t, b, b.Options(broker.Publisher)...))
	js, err := jetstream.New(connect(t, b))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := js.OrderedConsumer(ctx, events.StreamEvents, jetstream.OrderedConsumerConfig{}); err != nil {
		t.Error(err)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	b := start(t)
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, credentials := range map[string]nats.Option{
		"a key that is not known": nats.Nkey(stranger, key.Sign),
		"a name and a password":   nats.UserInfo(string(broker.Publisher), "guess"),
	} {
		if nc, err := nats.Connect(b.URL(), credentials); !errors.Is(err, nats.ErrAuthorization) {
			nc.Close()
			t.Errorf("with %s: error %v, want an authorization violation", name, err)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // a listener without connections
	for _, tc := range []struct {
		name string
		cfg  broker.Config
		want string
	}{
		{"no directory", broker.Config{}, "no directory"},
		{"a port that is none", broker.Config{Dir: t.TempDir(), Listen: "127.0.0.1:nats"}, "port"},
		{"no port", broker.Config{Dir: t.TempDir(), Listen: "127.0.0.1"}, "Listen: "},
		{"a port in use", broker.Config{Dir: t.TempDir(), Listen: taken.Addr().String()}, "in use"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, err := broker.Start(tc.cfg)
			if err == nil {
				b.Close()
				t.Fatal("started")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q does not mention %q", err, tc.want)
			}
		})
	}
}
