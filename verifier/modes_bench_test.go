package verifier_test

import (
	"context"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/verifier"
)

// BenchmarkModes is what one verdict costs on the real auth service, by who
// decides: here, the auth service over the bus, or over HTTP by introspection.
func BenchmarkModes(b *testing.B) {
	s := authsvctest.Start(b, authsvctest.Config{AccessLifetime: time.Hour})
	raw := s.Login(b, s.Register(b, "ada")).AccessToken
	nc := s.Connect(b)
	local := verifier.Config{Issuer: s.Issuer(), Audience: "orders", NATS: nc}
	bus := local
	bus.Mode = verifier.Remote
	introspection := verifier.Config{
		Mode: verifier.Remote, Issuer: s.Issuer(), Audience: "orders", IntrospectionURL: s.URL() + "/v1/introspect",
		ClientID: "orders", ClientSecret: verifier.ClientSecret(s.AddService(b, "orders")),
	}
	for _, mode := range []struct {
		name   string
		config verifier.Config
	}{{"local", local}, {"remote, bus", bus}, {"remote, introspection", introspection}} {
		b.Run(mode.name, func(b *testing.B) {
			ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
			defer cancel()
			v, err := verifier.New(ctx, mode.config)
			if err != nil {
				b.Fatal(err)
			}
			defer v.Close()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
