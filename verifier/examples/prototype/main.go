// Command prototype is the classic first prototype of a service behind a login: it
// takes a bearer token, has it verified, and answers "token validated" with the
// user's id. Who verifies is one flag; nothing else changes.
//
//	prototype -mode local                                     # here, following the bus
//	prototype -mode remote                                    # the auth service, over the bus
//	prototype -mode remote -introspection http://127.0.0.1:8080/v1/introspect
//
// The last one asks over HTTP, as CLIENT_ID with CLIENT_SECRET from the
// environment: what `authsvc services add` prints. prototype.py does the same in
// Python, and says what it cannot do.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/verifier"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8083", "where to listen; port 0 takes a free one")
	mode := flag.String("mode", "local", "who verifies: local (this process) or remote (the auth service)")
	natsURL := flag.String("nats", "nats://127.0.0.1:4222", "the bus")
	introspection := flag.String("introspection", "", "with -mode remote, ask this endpoint (RFC 7662) instead of the bus")
	issuer := flag.String("issuer", "http://127.0.0.1:8080", "the iss of good tokens")
	audience := flag.String("audience", "orders", "the aud of good tokens: this service's name")
	flag.Parse()

	config := verifier.Config{Issuer: *issuer, Audience: *audience}
	switch *mode {
	case "local":
	case "remote":
		config.Mode = verifier.Remote
	default:
		log.Fatalf("-mode %s: must be local or remote", *mode)
	}
	var err error
	if *introspection != "" {
		config.IntrospectionURL, config.ClientID = *introspection, os.Getenv("CLIENT_ID")
		config.ClientSecret = verifier.ClientSecret(os.Getenv("CLIENT_SECRET"))
	} else if config.NATS, err = nats.Connect(*natsURL, nats.MaxReconnects(-1)); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	v, err := verifier.New(ctx, config) // ready, or the 30 s are over
	cancel()
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	server := &http.Server{Handler: v.Middleware(http.HandlerFunc(hello)), ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.Serve(listener))
}

// hello answers whoever got past the middleware.
func hello(w http.ResponseWriter, r *http.Request) {
	claims, _ := verifier.FromContext(r.Context())
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"message": "token validated", "sub": claims.Subject})
}
