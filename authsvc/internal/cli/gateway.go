package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/authsvc/internal/gateway"
	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/mtls"
)

// gatewayCmd is `authsvc gateway`: one address for clients, the services behind it.
type gatewayCmd struct {
	Listen      string `default:"127.0.0.1:8000" help:"Address for clients." variable:"AUTHSVC_GATEWAY_LISTEN"`
	TLSCert     string `name:"tls-cert" field:"CertFile" placeholder:"FILE" help:"Certificate for clients, in PEM. Default: no TLS." variable:"AUTHSVC_GATEWAY_TLS_CERT"`
	TLSKey      string `name:"tls-key" field:"KeyFile" placeholder:"FILE" help:"Its key." variable:"AUTHSVC_GATEWAY_TLS_KEY"`
	AdminListen string `help:"Address of /healthz, /readyz and /metrics. Default: none."`

	Routes string `required:"" placeholder:"FILE" help:"YAML file with the rules: which requests go where. It is read again when it changes."`
	Auth   string `required:"" placeholder:"URL" help:"The auth service. It should trust the gateway as a proxy (--trusted-proxies)."`
	Issuer string `help:"The iss of its tokens. Default: --auth; with --certs it is another address."`

	NATSURL     string `name:"nats-url" required:"" help:"Addresses of the NATS servers, separated by commas."`
	Credentials string `placeholder:"FILE" help:"Credentials file of the gateway on NATS."`
	Certs       string `type:"path" placeholder:"DIR" help:"Directory with the gateway's certificate, for mutual TLS with NATS, the auth service (as authsvc, at --listen-mtls) and services that have a spiffe in the rules."`
	Name        string `default:"gateway" help:"Name of the gateway: in its certificate, and on NATS."`
	KVReplicas  int    `name:"kv-replicas" field:"Replicas" help:"How many NATS servers hold the bucket of the sessions, at least. Default: as many as do, or 1."`

	SecretFile         string `field:"SharedSecret" placeholder:"FILE" help:"File with the shared secret, where the auth service signs with one."`
	Secret             string `help:"The same secret as text, from the environment only." confidential:""`
	PreviousSecretFile string `field:"PreviousSharedSecret" placeholder:"FILE" help:"File with the second shared secret, while one replaces the other."`
	PreviousSecret     string `help:"The same secret as text, from the environment only." confidential:""`

	SessionIdle    time.Duration `default:"336h" help:"A session that is not used ends after this; as at the auth service. The bucket keeps what it has where it is longer."`
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
	if isOpen(c.Auth) {
		log.Warn("--auth is not https: passwords and tokens can be read on their way to the auth service")
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
	files := mtls.Files(c.Certs, c.Name)
	files.Logger = log
	id, err := mtls.Open(files)
	if err != nil {
		return nil, &field.Error{Field: "Certs", Err: err}
	}
	if id.Name() != c.Name {
		err := field.New("Certs", fmt.Sprintf("the certificate is that of %s, and --name says %s", id.Name(), c.Name))
		return nil, errors.Join(err, id.Close())
	}
	return id, nil
}

// config is what the gateway starts with, but for the connection and the certificate.
func (c *gatewayCmd) config(log *slog.Logger) (gateway.Config, error) {
	var wrong field.Checks
	wrong.Add("NATSURL", bus.CheckURL(c.NATSURL))
	wrong.Add("Credentials", bus.CheckCredentials(c.Credentials))
	wrong.Add("Name", events.CheckServiceName(c.Name))
	wrong.Want(c.Certs == "" || c.Credentials == "", "Certs", "cannot go with --credentials")
	wrong.Want(c.Issuer != "" || c.Certs == "", "Issuer", "is required with --certs, where --auth is not the public URL")
	proxies, err := readNetworks(c.TrustedProxies)
	return gateway.Config{
		Listen: c.Listen, CertFile: c.TLSCert, KeyFile: c.TLSKey, AdminListen: c.AdminListen,
		Routes: c.Routes, Auth: c.Auth, Issuer: cmp.Or(c.Issuer, strings.TrimSuffix(c.Auth, "/")), Name: c.Name, MaxStale: c.MaxStale,
		SessionIdle: c.SessionIdle, Replicas: c.KVReplicas, TrustedProxies: proxies, Log: log,
		SharedSecret:         keyring.ReadSecret(&wrong, "Secret", c.Secret, c.SecretFile),
		PreviousSharedSecret: keyring.ReadSecret(&wrong, "PreviousSecret", c.PreviousSecret, c.PreviousSecretFile),
	}, errors.Join(wrong.Err(), err)
}

// readNetworks reads the networks and single addresses of --trusted-proxies.
func readNetworks(texts []string) ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if addr, addrErr := netip.ParseAddr(text); err != nil && addrErr == nil {
			network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, field.New("TrustedProxies", fmt.Sprintf("%q is neither a network nor an address", text))
		}
		networks = append(networks, network)
	}
	return networks, nil
}
