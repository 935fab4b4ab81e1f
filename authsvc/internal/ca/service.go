package ca

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier"
	"github.com/authbus/authbus/verifier/token"
)

// ServiceConfig configures a Service. CA, NATSURL, Name and Issuer are required.
type ServiceConfig struct {
	CA *CA
	// NATSURL are addresses of NATS servers, separated by commas. With tls:// the
	// service connects with a certificate that the CA gives it.
	NATSURL string
	// Credentials is a credentials file; default none.
	Credentials string
	// Name is the service's own name, on NATS and in its certificate.
	Name string
	// Issuer is the public URL of the auth service, whose revocations are followed.
	Issuer string
	// Lifetime is that of renewed certificates; 0 means DefaultLifetime.
	Lifetime time.Duration
	// Log takes what happens; nil means slog.Default().
	Log *slog.Logger
}

// Service is a [Renewer] with a connection of its own, and with a verifier that
// tells it which certificates are revoked. It is what `authsvc ca serve` runs.
type Service struct {
	nc       *nats.Conn
	verifier *verifier.Verifier
	renewer  *Renewer
}

// StartService returns once it knows all revocations, and answers. ctx bounds only
// the start.
func StartService(ctx context.Context, c ServiceConfig) (*Service, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("starting the CA's service: %w", err)
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	target := bus.Target{URL: c.NATSURL, Credentials: c.Credentials}
	if strings.Contains(c.NATSURL, "tls://") {
		target.Options = []nats.Option{c.CA.NATS(c.Name)}
	}
	s := &Service{}
	var err error
	if s.nc, err = bus.Connect(c.Name, target, c.Log); err != nil { // whose inbox is that of its identity
		return nil, err
	}
	s.verifier, err = verifier.New(ctx, verifier.Config{Issuer: c.Issuer, Audience: c.Name, NATS: s.nc, Logger: c.Log})
	if err != nil {
		s.Close()
		return nil, err
	}
	s.renewer, err = StartRenewer(RenewerConfig{
		CA: c.CA, Conn: s.nc, Revoked: s.verifier.CheckCertificate, Lifetime: c.Lifetime, Log: c.Log,
	})
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// check names the fields that cannot be right. With an issuer that is none, the service
// would wait for ever for somebody who answers as it.
func (c *ServiceConfig) check() error {
	var wrong field.Checks
	wrong.Add("NATSURL", bus.CheckURL(c.NATSURL))
	wrong.Add("Credentials", bus.CheckCredentials(c.Credentials))
	wrong.Add("Name", events.CheckServiceName(c.Name))
	wrong.Want(len(c.Name) <= 128, "Name", "must be at most 128 bytes long") // as the verifier has it
	wrong.Add("Issuer", token.CheckIssuer(c.Issuer))
	if c.Lifetime != 0 {
		wrong.Add("Lifetime", CheckLifetime(c.Lifetime))
	}
	return wrong.Err()
}

// Close ends the service, and waits for what is being answered.
func (s *Service) Close() {
	if s.renewer != nil {
		s.renewer.Close()
	}
	if s.verifier != nil {
		s.verifier.Close()
	}
	s.nc.Close()
}
