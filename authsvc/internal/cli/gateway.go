package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/authsvc/internal/gateway"
	"github.com/authbus/authbus/verifier/mtls"
	"github.com/authbus/authbus/verifier/token"
)

// gatewayCmd is `authsvc gateway`: one address for clients, the services behind it.
type gatewayCmd struct {
	Listen      string `default:"127.0.0.1:8000" help:"Address for clients." variable:"AUTHSVC_GATEWAY_LISTEN"`
	TLSCert     string `name:"tls-cert" placeholder:"FILE" help:"Certificate for clients, in PEM. Default: no TLS." variable:"AUTHSVC_GATEWAY_TLS_CERT"`
	TLSKey      string `name:"tls-key" placeholder:"FILE" help:"Its key." variable:"AUTHSVC_GATEWAY_TLS_KEY"`
	AdminListen string `help:"Address of /healthz, /readyz and /metrics. Default: none."`

	Routes string `required:"" placeholder:"FILE" help:"YAML file with the rules: which requests go where. It is read again when it changes."`
	Auth   string `required:"" placeholder:"URL" help:"The auth service. It should trust the gateway as a proxy (--trusted-proxies)."`
	Issuer string `help:"The iss of its tokens. Default: --auth; with --certs it is another address."`

	NATSURL     string `name:"nats-url" required:"" help:"Addresses of the NATS servers, separated by commas."`
	Credentials string `placeholder:"FILE" help:"Credentials file of the gateway on NATS."`
	Certs       string `type:"path" placeholder:"DIR" help:"Directory with the gateway's certificate, for mutual TLS with NATS, the auth service (as authsvc, at --listen-mtls) and services that have a spiffe in the rules."`
	Name        string `default:"gateway" help:"Name of the gateway: in its certificate, and on NATS."`
	KVReplicas  int    `name:"kv-replicas" default:"1" help:"How many NATS servers hold the bucket of the sessions."`

	SecretFile         string `placeholder:"FILE" help:"File with the shared secret, where the auth service signs with one."`
	Secret             string `help:"The same secret as text, from the environment only." confidential:""`
	PreviousSecretFile string `placeholder:"FILE" help:"File with the second shared secret, while one replaces the other."`
	PreviousSecret     string `help:"The same secret as text, from the environment only." confidential:""`

	SessionIdle    time.Duration `default:"336h" help:"A session that is not used ends after this; as at the auth service."`
	MaxStale       time.Duration `default:"30s" help:"The bound: what the gateway cannot prove to be newer than this it does not accept."`
	TrustedProxies []string      `help:"Networks in front of the gateway whose X-Forwarded-For is believed." variable:"AUTHSVC_GATEWAY_TRUSTED_PROXIES"`
	LogLevel       slog.Level    `default:"INFO" help:"DEBUG, INFO, WARN or ERROR."`
}

// Run serves until ctx ends, and then ends in order.
func (c *gatewayCmd) Run(ctx context.Context, t *terminal) (err error) {
	log := slog.New(slog.NewJSONHandler(t.err, &slog.HandlerOptions{Level: c.LogLevel}))
	config, err := c.config(log)
	if err != nil {
		return err
	}
	target := bus.Target{URL: c.NATSURL, Credentials: c.Credentials}
	if c.Certs != "" {
		if config.Identity, err = c.identity(log); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, config.Identity.Close()) }()
		target.Options = []nats.Option{config.Identity.NATS()}
	}
	if config.NATS, err = bus.Connect(c.Name, target, log); err != nil {
		return err
	}
	defer config.NATS.Close()
	if config.Identity != nil {
		config.Identity.Renew(config.NATS)
	}
	g, err := gateway.Start(ctx, config)
	if err != nil {
		return err
	}
	log.Info("serving", "url", g.URL(), "admin", g.AdminURL())
	<-ctx.Done()
	log.Info("stopping")
	return g.Close()
}

// identity opens the gateway's certificate. On NATS it is the only credential.
func (c *gatewayCmd) identity(log *slog.Logger) (*mtls.Source, error) {
	if c.Credentials != "" {
		return nil, errors.New("--certs: cannot go with --credentials")
	}
	files := mtls.Files(c.Certs, c.Name)
	files.Logger = log
	id, err := mtls.Open(files)
	if err != nil {
		return nil, fmt.Errorf("--certs: %w", err)
	}
	if id.Name() != c.Name {
		err := fmt.Errorf("--certs: the certificate is that of %s, and --name says %s", id.Name(), c.Name)
		return nil, errors.Join(err, id.Close())
	}
	return id, nil
}

func (c *gatewayCmd) config(log *slog.Logger) (gateway.Config, error) {
	config := gateway.Config{
		Listen: c.Listen, CertFile: c.TLSCert, KeyFile: c.TLSKey, AdminListen: c.AdminListen,
		Routes: c.Routes, Auth: c.Auth, Issuer: c.Issuer, Name: c.Name, MaxStale: c.MaxStale,
		SessionIdle: c.SessionIdle, Replicas: c.KVReplicas, Log: log,
	}
	if config.Issuer == "" {
		if c.Certs != "" {
			return config, errors.New("--issuer is required with --certs, where --auth is not the public URL")
		}
		config.Issuer = c.Auth
	}
	var errs [3]error
	config.SharedSecret, errs[0] = readSecret("secret", c.Secret, c.SecretFile)
	config.PreviousSharedSecret, errs[1] = readSecret("previous-secret", c.PreviousSecret, c.PreviousSecretFile)
	config.TrustedProxies, errs[2] = readNetworks("trusted-proxies", c.TrustedProxies)
	return config, errors.Join(errs[:]...)
}

// readSecret reads a secret that may be left out, from the text of its flag or from
// the file of the one beside it.
func readSecret(flag, text, file string) (secret token.Secret, err error) {
	switch {
	case text != "" && file != "":
		return token.Secret{}, fmt.Errorf("--%s-file: cannot go with $%s", flag, variableNamed(flag))
	case text != "":
		secret, err = token.ParseSecret(text)
	case file != "":
		flag += "-file"
		secret, err = token.ReadSecretFile(file)
	}
	if err != nil {
		return token.Secret{}, fmt.Errorf("--%s: %w", flag, err)
	}
	return secret, nil
}

// readNetworks reads networks and single addresses.
func readNetworks(flag string, texts []string) ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if addr, addrErr := netip.ParseAddr(text); err != nil && addrErr == nil {
			network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("--%s: %q is neither a network nor an address", flag, text)
		}
		networks = append(networks, network)
	}
	return networks, nil
}
