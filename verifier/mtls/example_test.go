package mtls_test

import (
	"context"
	"log"
	"net"
	"net/http"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/verifier"
	"github.com/authbus/authbus/verifier/mtls"
)

// The service orders: known to the bus by its certificate, called by the gateway
// only, and calling billing.
func Example() {
	ctx := context.Background()
	id, err := mtls.Open(mtls.Files("/etc/orders", "orders")) // orders.crt, orders.key, ca.crt
	if err != nil {
		log.Print(err) // names the field, the file and what is wrong with it
		return
	}
	defer id.Close() //nolint:errcheck // it always works

	nc, err := nats.Connect("tls://nats.internal:4222", id.NATS(), nats.CustomInboxPrefix("_INBOX_orders"))
	if err != nil {
		log.Print(err)
		return
	}
	defer nc.Close()
	v, err := verifier.New(ctx, verifier.Config{Issuer: "https://auth.example.org", Audience: "orders", NATS: nc})
	if err != nil {
		log.Print(err)
		return
	}
	defer v.Close()
	id.Enforce(v) // peers with revoked certificates are refused and cut off
	id.Renew(nc)  // and our own certificate is renewed in time

	billing, err := id.Transport(nil, "billing")
	if err != nil {
		log.Print(err)
		return
	}
	client := &http.Client{Transport: billing} // for https://…, whatever its host name

	tcp, err := net.Listen("tcp", ":8443")
	if err != nil {
		log.Print(err)
		return
	}
	listener, err := id.Listener(tcp, "gateway")
	if err != nil {
		log.Print(err)
		return
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, _ := id.Peer(*r.TLS) // "gateway"
		claims, _ := verifier.FromContext(r.Context())
		log.Print(who, " asks for ", claims.Subject)
		resp, err := client.Get("https://billing.internal:8443/")
		if err != nil {
			http.Error(w, "billing cannot be reached", http.StatusBadGateway)
			return
		}
		defer resp.Body.Close() //nolint:errcheck // it was only read
	})
	log.Print(http.Serve(listener, v.Middleware(handler)))
}
