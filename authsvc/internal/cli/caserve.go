package cli

import (
	"context"
	"log/slog"
	"time"

	"github.com/authbus/authbus/authsvc/internal/ca"
)

// caServeCmd is `authsvc ca serve`: it answers auth.ca.renew.
type caServeCmd struct {
	NATSURL         string        `name:"nats-url" required:"" help:"Addresses of the NATS servers, separated by commas; with tls:// it connects with a certificate of its own."`
	NATSCredentials string        `name:"nats-credentials" field:"Credentials" help:"Credentials file on NATS." type:"path" placeholder:"FILE"`
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
	if path, there, err := authority.RootKey(); err != nil {
		return err
	} else if there {
		log.Warn("the root's key lies beside the CA: whoever takes this machine takes it, too; keep it elsewhere", "file", path)
	}
	log.Info("waiting for the revocations") // from addresses that may hold a password
	service, err := ca.StartService(ctx, ca.ServiceConfig{
		CA: authority, NATSURL: cmd.NATSURL, Credentials: cmd.NATSCredentials, Name: cmd.Name, Issuer: cmd.Issuer,
		Lifetime: cmd.Lifetime, Log: log,
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return nil // stopped while it waited
	case err != nil:
		return err
	}
	defer service.Close()
	log.Info("renewing certificates")
	<-ctx.Done()
	log.Info("stopping")
	return nil
}
