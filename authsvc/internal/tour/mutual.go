package tour

import (
	"context"
	"fmt"

	"github.com/authbus/authbus/authsvc/internal/ca"
	"github.com/authbus/authbus/authsvc/internal/dev"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
	"github.com/authbus/authbus/events"
)

// mutualTLS is the gateway once more, with everything behind it over mutual TLS.
const mutualTLS = "gateway, mutual TLS"

// changeToMutual starts everything again as `authsvc dev --mtls` does: on the same
// database, so with the same accounts and revocations, and with a broker of its own
// that knows nobody but by certificate.
func (t *tour) changeToMutual(ctx context.Context) (string, error) {
	if err := t.stopServices(); err != nil {
		return "", err
	}
	var err error
	t.mutual, err = dev.Start(ctx, dev.Config{
		Dir: t.dir, Auth: t.config.Listen, NATS: "127.0.0.1:0", Orders: "127.0.0.1:0", Billing: "127.0.0.1:0",
		Gateway: "127.0.0.1:0", AuthMutual: "127.0.0.1:0", Mutual: true, MaxStale: t.bound, Log: t.log,
	})
	if err != nil {
		return "", err
	}
	t.node = t.mutual.Node()
	return answered((*tour).deployMutual)(t, ctx)
}

// deployMutual is the gateway that has been started; clients see no difference.
func (t *tour) deployMutual(context.Context) (*deployment, error) {
	address := t.mutual.GatewayURL()
	return &deployment{
		name: mutualTLS, url: address + "/orders",
		logIn: func(ctx context.Context) (string, error) { return t.logInAt(ctx, address) },
	}, nil
}

// revokeCertificate has the gateway leave a service whose key was stolen, and not the
// other one.
func (t *tour) revokeCertificate(ctx context.Context) (string, error) {
	opaque, err := t.logInAt(ctx, t.mutual.GatewayURL())
	if err != nil {
		return "", err
	}
	billing, orders := t.mutual.GatewayURL()+"/billing", t.mutual.GatewayURL()+"/orders"
	if err := t.expectAt(ctx, billing, opaque, validated); err != nil {
		return "", err
	}
	authority, err := ca.Open(t.mutual.Mutual().CADir)
	if err != nil {
		return "", err
	}
	records, err := authority.Revoke("billing", "key stolen")
	if err != nil {
		return "", err
	}
	if len(records) != 1 {
		return "", fmt.Errorf("billing has %d certificates", len(records))
	}
	ack, err := t.admin.Revoke(ctx, wire.RevokeRequest{
		Scope: string(events.ScopeCert), ID: records[0].ID, NotAfter: records[0].NotAfter, Reason: "key stolen",
	})
	if err != nil {
		return "", fmt.Errorf("revoking the certificate: %w", err)
	}
	if t.revoking, err = t.honoured(ctx, billing, opaque, unreachable); err != nil {
		return "", err
	}
	if err := t.expectAt(ctx, orders, opaque, validated); err != nil {
		return "", err
	}
	return fmt.Sprintf("revision %d, %s; the gateway: %v for billing after %.1f ms, and orders still works",
		ack.Rev, ack.Delivery, unreachable, milliseconds(t.revoking)), nil
}

// stopMutual stops the auth service under it, and then all of it.
func (t *tour) stopMutual(ctx context.Context) (string, error) {
	var err error
	if t.laptop, err = t.anyone.Login(ctx, t.login); err != nil { // a session that shall outlive this
		return "", err
	}
	detail, err := t.stopAuthAgain(ctx)
	if err != nil {
		return "", err
	}
	return detail, t.closeMutual()
}
