package demo

import (
	"context"
	"net/http"

	"github.com/coder/websocket"

	"github.com/authbus/authbus/verifier"
)

// live says back what comes over a WebSocket until the token dies.
func (s *Service) live(w http.ResponseWriter, r *http.Request) {
	claims, _ := verifier.FromContext(r.Context())
	// No cookie opens this, so no other site can have a browser do it; and behind a
	// gateway the Origin is the gateway's.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow() //nolint:errcheck // closed already unless something failed
	watched, cancel := s.verifier.Watch(r.Context(), claims)
	defer cancel()
	// A context that ends while something is read cuts the connection off. Close
	// first, so that the client is told why.
	stop := context.AfterFunc(watched, func() {
		_ = conn.Close(websocket.StatusPolicyViolation, "please log in again")
	})
	defer stop()
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		if err := conn.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}
