package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/authbus/authbus/authsvc/internal/node"
)

// serveCmd is `authsvc serve`: the auth service on a given database and bus.
type serveCmd struct {
	Listen      string `default:"127.0.0.1:8080" help:"Address for HTTP."`
	Issuer      string `help:"Public URL of the service, the iss of its tokens. Default: http:// and the address for HTTP."`
	DatabaseURL string `name:"database-url" field:"address" required:"" help:"sqlite:PATH or postgres://USER@HOST/DATABASE."`

	NATSURL              string `name:"nats-url" required:"" help:"Addresses of the NATS servers, separated by commas."`
	PublisherCredentials string `help:"Credentials file of the identity that publishes."`
	AnswererCredentials  string `help:"Credentials file of the identity that answers requests."`
	Certs                string `type:"path" placeholder:"DIR" help:"Directory with the certificates authsvc-publisher and authsvc-answerer for NATS, authsvc-enforcer if revoked certificates are to lose their connections to it, and authsvc for --listen-mtls."`
	ListenMTLS           string `name:"listen-mtls" placeholder:"ADDR" help:"Address for HTTP with services that prove by certificate who they are."`
	StreamReplicas       int    `field:"Replicas" default:"1" help:"How many NATS servers hold each stream."`

	EventSubscribers []string `placeholder:"NAME" help:"Services for which to make a durable consumer of the events, because they may not."`

	MasterKeyFile string `help:"File with the key that seals the signing keys; created if it is missing."`
	MasterKey     string `help:"The same key as text, from the environment only." confidential:""`
	Signing       string `field:"Algorithm" enum:"EdDSA,ES256,RS256,shared-secret" default:"EdDSA" help:"Algorithm of access tokens; with shared-secret (HS256) every verifier can mint tokens."`

	SecretFile         string `help:"File with the shared secret: at least 32 random bytes in base64, readable by its owner only." placeholder:"FILE"`
	Secret             string `help:"The same secret as text, from the environment only." confidential:""`
	PreviousSecretFile string `help:"File with a second shared secret whose tokens are good as well, while one replaces the other." placeholder:"FILE"`
	PreviousSecret     string `help:"The same secret as text, from the environment only." confidential:""`

	KeyOverlap  time.Duration `field:"Overlap" default:"2m" help:"How long a new signing key is published before it signs."`
	KeyRotation time.Duration `field:"RotateEvery" default:"720h" help:"How long a signing key signs."`

	Audiences       []string      `default:"orders,billing" help:"The services that tokens are for."`
	AccessLifetime  time.Duration `default:"10m" help:"Lifetime of access tokens, at most 1h."`
	RefreshGrace    time.Duration `default:"10s" help:"How long a rotated refresh token answers with its successor."`
	SessionIdle     time.Duration `default:"336h" help:"A session that is not refreshed ends after this."`
	SessionAbsolute time.Duration `default:"2160h" help:"Every session ends after this."`
	MaxSessions     int           `field:"MaxSessionsPerUser" default:"100" help:"Most live sessions of a user."`
	AdminMaxAge     time.Duration `default:"12h" help:"How old the login of an admin may be."`
	TrustedProxies  []string      `help:"Networks whose X-Forwarded-For is believed."`
	LogLevel        slog.Level    `default:"INFO" help:"DEBUG, INFO, WARN or ERROR."`
}

// Run serves until ctx ends, and then ends in order.
func (c *serveCmd) Run(ctx context.Context, t *terminal) error {
	log := slog.New(slog.NewJSONHandler(t.err, &slog.HandlerOptions{Level: c.LogLevel}))
	config, err := c.config(log)
	if err != nil {
		return err
	}
	n, err := node.Start(ctx, config)
	if err != nil {
		return err
	}
	log.Info("listening", "url", n.URL(), "mutual_tls", n.MutualURL())
	switch err := n.AwaitReady(ctx); {
	case err == nil:
		log.Info("serving", "issuer", n.Issuer())
		if err := c.offerBootstrap(ctx, t, n); err != nil {
			log.Warn("the one-time secret could not be made", "error", err)
		}
	case ctx.Err() == nil: // waiting longer is in vain
		return errors.Join(err, n.Close())
	}
	<-ctx.Done()
	log.Info("stopping")
	return n.Close()
}

// offerBootstrap prints the one-time secret where there is no admin yet.
func (c *serveCmd) offerBootstrap(ctx context.Context, t *terminal, n *node.Node) error {
	secret, needed, err := n.BootstrapSecret(ctx)
	if err != nil || !needed {
		return err
	}
	_, err = fmt.Fprintf(t.out, "No admin yet. Within 24 hours, once: authsvc bootstrap --server %s, with the secret\n%s\n", n.URL(), secret)
	return err
}

func (c *serveCmd) config(log *slog.Logger) (node.Config, error) {
	proxies, err := readNetworks(c.TrustedProxies)
	return node.Config{
		Listen: c.Listen, Issuer: c.Issuer, DatabaseURL: c.DatabaseURL,
		NATSURL: c.NATSURL, PublisherCredentials: c.PublisherCredentials, AnswererCredentials: c.AnswererCredentials,
		Certs: c.Certs, ListenMTLS: c.ListenMTLS,
		Replicas: c.StreamReplicas, EventSubscribers: c.EventSubscribers, MasterKey: c.MasterKey, MasterKeyFile: c.MasterKeyFile, Signing: c.Signing,
		Secret: c.Secret, SecretFile: c.SecretFile, PreviousSecret: c.PreviousSecret, PreviousSecretFile: c.PreviousSecretFile,
		KeyOverlap: c.KeyOverlap, KeyRotation: c.KeyRotation, Audiences: c.Audiences,
		AccessLifetime: c.AccessLifetime, RefreshGrace: c.RefreshGrace,
		SessionIdle: c.SessionIdle, SessionAbsolute: c.SessionAbsolute, MaxSessions: c.MaxSessions,
		AdminMaxAge: c.AdminMaxAge, TrustedProxies: proxies, Log: log,
	}, err
}
