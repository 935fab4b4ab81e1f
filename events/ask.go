package events

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// ErrNoAuthority is returned where nobody answers requests: the broker says at
// once that no auth service is listening.
var ErrNoAuthority = errors.New("no auth service is listening")

// ErrForgedReply is returned for a reply that no known feed key has signed or
// that belongs to another request. It must change nothing.
var ErrForgedReply = errors.New("reply is not the authority's answer to this request")

// RequestError is the authority's refusal of a request. Refusals are not signed:
// they may delay a decision but must never be one.
type RequestError struct {
	// Code is one of the Code constants, Description a sentence for people.
	Code, Description string
}

func (e *RequestError) Error() string {
	return fmt.Sprintf("request refused: %s (%s)", e.Description, e.Code)
}

// NewNonce returns 128 random bits or more, as text.
func NewNonce() string { return rand.Text() }

// Asking is implemented by the pointers to the request structs of this package.
type Asking interface {
	// Subject is where the request is sent, and what its reply is signed for.
	Subject() string
	setNonce(nonce string)
}

// Answering is implemented by the pointers to the reply structs of this package.
type Answering interface{ answered() (nonce string) }

// Subject is auth.fresh.
func (*FreshRequest) Subject() string { return SubjectFresh }

// Subject is auth.range.
func (*RangeRequest) Subject() string { return SubjectRange }

// Subject is auth.status.
func (*StatusRequest) Subject() string { return SubjectStatus }

// Subject is auth.keys.
func (*KeysRequest) Subject() string { return SubjectKeys }

// Subject is auth.verify.
func (*VerifyRequest) Subject() string { return SubjectVerify }

// Subject is auth.ca.renew.
func (*CARenewRequest) Subject() string { return SubjectCARenew }

func (r *FreshRequest) setNonce(nonce string)  { r.Nonce = nonce }
func (r *RangeRequest) setNonce(nonce string)  { r.Nonce = nonce }
func (r *StatusRequest) setNonce(nonce string) { r.Nonce = nonce }
func (r *KeysRequest) setNonce(nonce string)   { r.Nonce = nonce }
func (r *VerifyRequest) setNonce(nonce string) { r.Nonce = nonce }

func (r *CARenewRequest) setNonce(nonce string) { r.Nonce = nonce }

func (r *FreshReply) answered() string  { return r.Nonce }
func (r *RangeReply) answered() string  { return r.Nonce }
func (r *StatusReply) answered() string { return r.Nonce }
func (r *KeysReply) answered() string   { return r.Nonce }
func (r *VerifyReply) answered() string { return r.Nonce }

func (r *CARenewReply) answered() string { return r.Nonce }

// Request gives req a new nonce, sends it, and fills reply with the answer once
// one of keys has signed it for this request. ctx should have a deadline.
//
//	var reply events.FreshReply
//	err := events.Request(ctx, nc, keys, &events.FreshRequest{…}, &reply)
//
// Errors: [ErrNoAuthority], [ErrForgedReply], a [*RequestError], a
// [*ValidationError] for a request or reply that breaks its schema, or those of
// the connection and of ctx. reply is meaningless then.
func Request(ctx context.Context, nc *nats.Conn, keys map[string]ed25519.PublicKey, req Asking, reply Answering) error {
	return request(ctx, nc, req, reply, func(msg *nats.Msg) bool {
		return VerifySignature(keys, msg.Header, req.Subject(), msg.Data)
	})
}

// RequestKeys asks for the published keys. Whoever holds no key yet, or only
// retired ones, has nothing to check the answer against, so it is checked
// against the feed keys in itself: that it comes from the authority rests on the
// broker's permissions alone, as it does for whoever else may answer auth.keys.
func RequestKeys(ctx context.Context, nc *nats.Conn) (KeysReply, error) {
	req, reply := &KeysRequest{}, KeysReply{}
	err := request(ctx, nc, req, &reply, func(msg *nats.Msg) bool {
		var said KeysReply
		if json.Unmarshal(msg.Data, &said) != nil {
			return false
		}
		return VerifySignature(FeedKeys(said.Feed), msg.Header, req.Subject(), msg.Data)
	})
	if err != nil {
		return KeysReply{}, err
	}
	return reply, nil
}

// FeedKeys returns the keys by their ids, as [VerifySignature] wants them.
func FeedKeys(feed []FeedKey) map[string]ed25519.PublicKey {
	keys := make(map[string]ed25519.PublicKey, len(feed))
	for _, k := range feed {
		keys[k.ID] = k.Public
	}
	return keys
}

func request(ctx context.Context, nc *nats.Conn, req Asking, reply Answering, signed func(*nats.Msg) bool) error {
	nonce := NewNonce()
	req.setNonce(nonce)
	if err := Validate(req); err != nil {
		return fmt.Errorf("requesting %s: %w", req.Subject(), err)
	}
	payload, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("requesting %s: %w", req.Subject(), err)
	}
	msg, err := nc.RequestWithContext(ctx, req.Subject(), payload)
	if errors.Is(err, nats.ErrNoResponders) {
		err = ErrNoAuthority
	}
	if err == nil {
		err = readReply(msg, nonce, reply, signed)
	}
	if err != nil {
		return fmt.Errorf("requesting %s: %w", req.Subject(), err)
	}
	return nil
}

// readReply fills reply only with what is signed, and trusts it only if it
// repeats the nonce.
func readReply(msg *nats.Msg, nonce string, reply Answering, signed func(*nats.Msg) bool) error {
	if code := msg.Header.Get(micro.ErrorCodeHeader); code != "" {
		return &RequestError{Code: code, Description: msg.Header.Get(micro.ErrorHeader)}
	}
	if !signed(msg) {
		return ErrForgedReply
	}
	if err := json.Unmarshal(msg.Data, reply); err != nil {
		return fmt.Errorf("decoding reply: %w", err)
	}
	if reply.answered() != nonce {
		return ErrForgedReply
	}
	return Validate(reply)
}

// DecodeRequest reads and validates a request into req, for whoever answers it.
// The error is safe to show to the asker.
func DecodeRequest(payload []byte, req Asking) error {
	if err := checkJSON(payload); err != nil {
		return fmt.Errorf("decoding request: %w", err)
	}
	if err := json.Unmarshal(payload, req); err != nil {
		return fmt.Errorf("decoding request: %w", err)
	}
	return Validate(req)
}
