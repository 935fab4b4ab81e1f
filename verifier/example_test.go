package verifier_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/verifier"
)

// The deployment's own values.
var (
	natsURL = "nats://127.0.0.1:4222"
	issuer  = "http://127.0.0.1:8080"
	addr    = "127.0.0.1:8081"
	mux     = http.NewServeMux()
	ctx     = context.Background()
)

func Example() {
	nc, err := nats.Connect(natsURL)
	if err != nil {
		log.Fatal(err)
	}
	v, err := verifier.New(ctx, verifier.Config{Issuer: issuer, Audience: "orders", NATS: nc})
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()
	http.ListenAndServe(addr, v.Middleware(mux)) //nolint:errcheck // as short as it gets
	// in a handler: claims, ok := verifier.FromContext(r.Context())
}

// The authority decides about every token, asked over HTTP.
func Example_remote() {
	secret, err := os.ReadFile("/run/secrets/orders")
	if err != nil {
		log.Fatal(err)
	}
	v, err := verifier.New(ctx, verifier.Config{
		Mode: verifier.Remote, Issuer: issuer, Audience: "orders",
		IntrospectionURL: issuer + "/v1/introspect",
		ClientID:         "orders", ClientSecret: verifier.ClientSecret(bytes.TrimSpace(secret)),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()
	http.ListenAndServe(addr, v.Middleware(mux)) //nolint:errcheck // as short as it gets
}

// A stream that ends when its token dies.
func ExampleVerifier_Watch() {
	var v *verifier.Verifier
	http.HandleFunc("GET /ticks", func(w http.ResponseWriter, r *http.Request) {
		claims, ok := verifier.FromContext(r.Context())
		if !ok {
			return
		}
		ctx, cancel := v.Watch(r.Context(), claims)
		defer cancel()
		for tick := time.NewTicker(time.Second); ; {
			select {
			case now := <-tick.C:
				fmt.Fprintln(w, now)
			case <-ctx.Done():
				fmt.Fprintln(w, "over:", context.Cause(ctx)) // wraps ErrRevoked, for example
				return
			}
		}
	})
}
