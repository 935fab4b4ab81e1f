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

	id, secret := os.Getenv("CLIENT_ID"), os.Getenv("CLIENT_SECRET")
	_, err := net.ResolveTCPAddr("tcp", *listen)
	switch {
	case flag.NArg() > 0:
		log.Fatalf("%s: there are flags only", flag.Arg(0))
	case *mode != "local" && *mode != "remote":
		log.Fatalf("-mode %s: must be local or remote", *mode)
	case *introspection != "" && *mode == "local":
		log.Fatal("-introspection needs -mode remote")
	case *introspection != "" && (id == "" || secret == ""):
		log.Fatal("-introspection needs CLIENT_ID and CLIENT_SECRET: see `authsvc services add`")
	case *introspection == "" && *natsURL == "":
		log.Fatal("-nats must not be empty")
	case *issuer == "":
		log.Fatal("-issuer must not be empty")
	case *audience == "":
		log.Fatal("-audience must not be empty")
	case err != nil:
		log.Fatalf("-listen: %v", err)
	}

	config, asked := verifier.Config{Issuer: *issuer, Audience: *audience}, "-nats"
	if *mode == "remote" {
		config.Mode = verifier.Remote
	}
	if *introspection != "" {
		asked = "-introspection"
		config.IntrospectionURL, config.ClientID, config.ClientSecret = *introspection, id, verifier.ClientSecret(secret)
	} else if config.NATS, err = nats.Connect(*natsURL, nats.MaxReconnects(-1)); err != nil {
		log.Fatalf("-nats: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	v, err := verifier.New(ctx, config) // ready, or the 30 s are over
	cancel()
	if err != nil {
		log.Fatalf("%s: %v", asked, err)
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatalf("-listen: %v", err)
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
