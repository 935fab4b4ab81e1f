package bus

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/events"
)

// request is what of a message an answer needs.
type request struct {
	subject, reply string
	data           []byte
}

// answerFunc decodes a request and returns its reply. Its error is a *refusal,
// or means that the database cannot be read.
type answerFunc func(ctx context.Context, data []byte) (any, error)

// refusal is an error that the asker is told.
type refusal struct{ code, description string }

func (e *refusal) Error() string { return e.description + " (" + e.code + ")" }

var (
	errOverloaded  = &refusal{events.CodeOverloaded, "too many requests at once: ask again later"}
	errTooLong     = &refusal{events.CodeBadRequest, "the request is too long"}
	errUnavailable = &refusal{events.CodeUnavailable, "the authority cannot answer now"}
)

// decode reads and validates a request.
func decode(data []byte, req events.Asking) error {
	if err := events.DecodeRequest(data, req); err != nil {
		return &refusal{events.CodeBadRequest, err.Error()}
	}
	return nil
}

func (r *Responder) answerRange(ctx context.Context, data []byte) (any, error) {
	var req events.RangeRequest
	if err := decode(data, &req); err != nil {
		return nil, err
	}
	if err := r.ready(); err != nil {
		return nil, err
	}
	reply, err := r.authority.Range(ctx, req)
	reply.Nonce = req.Nonce
	return reply, err
}

func (r *Responder) answerStatus(ctx context.Context, data []byte) (any, error) {
	var req events.StatusRequest
	if err := decode(data, &req); err != nil {
		return nil, err
	}
	if err := r.ready(); err != nil {
		return nil, err
	}
	reply, err := r.authority.Status(ctx, req.Token)
	reply.Nonce = req.Nonce
	return reply, err
}

// answerKeys needs no log: a verifier may learn the keys while it waits for the rest.
func (r *Responder) answerKeys(_ context.Context, data []byte) (any, error) {
	var req events.KeysRequest
	if err := decode(data, &req); err != nil {
		return nil, err
	}
	// The version is read first: a verifier that is told an older one asks again.
	version := r.keys.Version()
	secret, killed := r.keys.SharedSecrets()
	return events.KeysReply{
		Nonce: req.Nonce, Issuer: r.issuer, JWKS: r.keys.JWKS(), Feed: r.keys.FeedKeys(), Keys: version,
		SharedSecret: secret, KilledSecrets: killed,
	}, nil
}

func (r *Responder) answerVerify(ctx context.Context, data []byte) (any, error) {
	var req events.VerifyRequest
	if err := decode(data, &req); err != nil {
		return nil, err
	}
	if err := r.ready(); err != nil {
		return nil, err
	}
	_, err := r.authority.Verify(ctx, req.Token, req.Audience)
	var refused *authority.Error
	switch {
	case err == nil:
		claims, err := claimsOf(req.Token)
		return events.VerifyReply{Nonce: req.Nonce, Active: true, Claims: claims}, err
	case errors.As(err, &refused) && refused.Code == authority.CodeInvalidToken:
		return events.VerifyReply{Nonce: req.Nonce, Reason: reasonOf(refused)}, nil
	}
	return nil, err
}

// claimsOf returns the claims set of a token that has been verified.
func claimsOf(verified string) (json.RawMessage, error) {
	_, rest, _ := strings.Cut(verified, ".")
	payload, _, _ := strings.Cut(rest, ".")
	claims, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return nil, fmt.Errorf("decoding claims: %w", err)
	}
	return claims, nil
}

// reasonOf returns the stable word for why a token is refused.
func reasonOf(refused *authority.Error) string {
	if refused.Reason == "" {
		return string(refused.Code)
	}
	return refused.Reason
}

// send signs a reply for the subject of its request and sends it.
func (r *Responder) send(name string, req request, reply any) {
	payload, err := json.Marshal(reply)
	if err != nil {
		r.refuse(name, req.reply, fmt.Errorf("encoding reply: %w", err))
		return
	}
	if int64(len(payload)) > r.nc.MaxPayload() {
		r.refuse(name, req.reply, fmt.Errorf("a reply of %d bytes is too long for the bus", len(payload)))
		return
	}
	r.publish(name, "answered", &nats.Msg{
		Subject: req.reply, Header: r.keys.SignFeed(req.subject, payload), Data: payload,
	})
}

// refuse answers with the error headers of NATS micro services. Only a refusal is
// told in words; other errors are for the log.
func (r *Responder) refuse(name, reply string, err error) {
	var told *refusal
	if !errors.As(err, &told) {
		told = errUnavailable
		r.often.Do(func() { r.log.Warn("request cannot be answered", "endpoint", name, "error", err) })
	}
	r.publish(name, told.code, &nats.Msg{Subject: reply, Header: nats.Header{
		micro.ErrorCodeHeader: []string{told.code}, micro.ErrorHeader: []string{told.description},
	}})
}

// publish sends without the request object of package micro: that one may only
// be used until its handler returns, and ours hands the work on.
func (r *Responder) publish(name, result string, msg *nats.Msg) {
	if err := r.nc.PublishMsg(msg); err != nil {
		result = "unsent"
	}
	r.count(name, result)
}

func (r *Responder) count(name, result string) {
	r.metrics.requests.WithLabelValues(name, result).Inc()
}
