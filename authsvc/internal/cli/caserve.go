package cli

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/authsvc/internal/ca"
	"github.com/authbus/authbus/verifier"
)

// caServeCmd is `authsvc ca serve`: it answers auth.ca.renew.
type caServeCmd struct {
	NATSURL         string        `name:"nats-url" required:"" help:"Addresses of the NATS servers, separated by commas; with tls:// it connects with a certificate of its own."`
	NATSCredentials string        `name:"nats-credentials" help:"Credentials file on NATS." type:"path" placeholder:"FILE"`
	Name            string        `help:"Its name, on NATS and in its own certificate." default:"ca" variable:"AUTHSVC_CA_NAME"`
	Issuer          string        `required:"" help:"Public URL of the auth service, whose revocations it follows." variable:"AUTHSVC_ISSUER"`
	Lifetime        time.Duration `help:"How long renewed certificates live, at most 144h." default:"24h"`
	LogLevel        slog.Level    `default:"INFO" help:"DEBUG, INFO, WARN or ERROR."`
}

// Run serves until ctx ends. It begins when it knows all revocations.
func (cmd *caServeCmd) Run(ctx context.Context, t *terminal, dir caDir) error {
	log := slog.New(slog.NewJSONHandler(t.err, &slog.HandlerOptions{Level: cmd.LogLevel}))
	authority, err := dir.open()
	if err != nil {
		return err
	}
	target, err := cmd.target(authority)
	if err != nil {
		return err
	}
	nc, err := bus.Connect(cmd.Name, target, log) // whose inbox is that of its identity
	if err != nil {
		return err
	}
	defer nc.Close()
	log.Info("waiting for the revocations", "nats", cmd.NATSURL)
	v, err := verifier.New(ctx, verifier.Config{Issuer: cmd.Issuer, Audience: "ca", NATS: nc, Logger: log})
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped while it waited
		}
		return err
	}
	defer v.Close()
	renewer, err := ca.StartRenewer(ca.RenewerConfig{
		CA: authority, Conn: nc, Revoked: v.CheckCertificate, Lifetime: cmd.Lifetime, Log: log,
	})
	if err != nil {
		return err
	}
	defer renewer.Close()
	log.Info("renewing certificates")
	<-ctx.Done()
	log.Info("stopping")
	return nil
}

// target says how NATS is reached: as a service of the CA where TLS is asked for.
func (cmd *caServeCmd) target(authority *ca.CA) (bus.Target, error) {
	target := bus.Target{URL: cmd.NATSURL, Credentials: cmd.NATSCredentials}
	if !strings.Contains(cmd.NATSURL, "tls://") {
		return target, nil
	}
	config, err := authority.ClientTLS(cmd.Name)
	if err != nil {
		return bus.Target{}, err
	}
	target.Options = append(target.Options, nats.Secure(config))
	return target, nil
}
