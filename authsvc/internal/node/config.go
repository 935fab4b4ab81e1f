package node

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/authsvc/internal/node/broker"
	"github.com/authbus/authbus/verifier/token"
)

// Config configures a Node. The zero value of each field is its default.
type Config struct {
	// Listen is where HTTP is served; default 127.0.0.1:8080. Port 0 takes a free one.
	Listen string
	// Issuer is the public URL of the service; default http:// and the address
	// that is listened on.
	Issuer string
	// DatabaseURL is sqlite:PATH or postgres://…. Required.
	DatabaseURL string

	// NATSURL is the address of the broker or cluster. Exactly one of it, Embedded
	// and Broker is required.
	NATSURL string
	// PublisherCredentials and AnswererCredentials are .creds files of the two
	// identities on the bus; default none.
	PublisherCredentials, AnswererCredentials string
	// Certs is a directory with certificates as `authsvc ca issue NAME --out DIR`
	// writes them, by which the auth service proves itself; default none. With NATSURL
	// it holds authsvc-publisher and authsvc-answerer, and with authsvc-enforcer as
	// well, an identity of the brokers' system account, revoked certificates lose
	// their connections to the brokers. With ListenMTLS it holds authsvc.
	Certs string
	// ListenMTLS is where HTTP is served to those only who prove by certificate that
	// they are a service of the trust domain; default nowhere.
	ListenMTLS string
	// Embedded runs a broker in this process instead, which ends with the node.
	Embedded *Embedded
	// Broker is one that runs in this process already, and goes on without the node.
	Broker *broker.Broker
	// Replicas is how many brokers hold each stream; default 1.
	Replicas int
	// EventSubscribers are the services for which the node makes a durable consumer
	// of the events, because they may not make their own; default none.
	EventSubscribers []string

	// MasterKey is the key that seals the signing keys, as text, and MasterKeyFile
	// a file with it, which is created if it is missing. Exactly one is required.
	MasterKey, MasterKeyFile string
	// Signing is EdDSA (default), ES256, RS256 or SharedSecret.
	Signing string
	// Secret is the secret that SharedSecret signs with, as token.ParseSecret takes
	// it, and SecretFile a file with it. Exactly one is required with it, and
	// refused without. Every replica and every verifier must have the same.
	Secret, SecretFile string
	// PreviousSecret or PreviousSecretFile is a second one, whose tokens are good
	// as well: the one before, or the one to come.
	PreviousSecret, PreviousSecretFile string
	secret, previousSecret             token.Secret // read
	// KeyOverlap is how long a new key is published before it signs, and
	// KeyRotation how long it signs; defaults 2 min and 30 days.
	KeyOverlap, KeyRotation time.Duration

	// Audiences are the services that tokens are for; default orders, billing.
	// The auth service itself is always added.
	Audiences []string
	// The lifetimes; defaults 10 min, 10 s, 14 days, 90 days.
	AccessLifetime, RefreshGrace, SessionIdle, SessionAbsolute time.Duration
	// MaxSessions bounds a user's live sessions; default 100.
	MaxSessions int
	// AdminMaxAge is how old the login of an admin may be; default 12 h.
	AdminMaxAge time.Duration

	// TrustedProxies are the networks whose X-Forwarded-For is believed; default none.
	TrustedProxies []netip.Prefix
	// Log takes what happens; nil means slog.Default().
	Log *slog.Logger
}

// Embedded configures the broker in this process.
type Embedded struct {
	// Dir holds JetStream's data. Required.
	Dir string
	// Listen is host:port; default 127.0.0.1:4222. Port 0 takes a free one.
	Listen string
	// SyncInterval is how often the broker syncs to disk; default: every message.
	SyncInterval time.Duration
}

// normalize puts the defaults in place and names every field that cannot be
// right. Lifetimes and the algorithm are checked by those whom they concern.
func (c *Config) normalize() error {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:8080"
	}
	var wrong field.Checks
	wrong.Want(c.DatabaseURL != "", "DatabaseURL", "is required")
	wrong.Want(c.buses() == 1, "NATSURL", "exactly one of NATSURL, Embedded and Broker is required")
	wrong.Want((c.MasterKey == "") != (c.MasterKeyFile == ""), "MasterKeyFile", "a file with the key or the key as text is required, and not both")
	wrong.Want(c.Certs == "" || c.PublisherCredentials == "" && c.AnswererCredentials == "", "Certs", "cannot go with credentials files")
	wrong.Want(c.Certs == "" || c.NATSURL != "" || c.ListenMTLS != "", "Certs", "is for NATS and for mutual TLS over HTTP, and neither has an address")
	wrong.Want(c.ListenMTLS == "" || c.Certs != "", "ListenMTLS", "needs the directory with certificates")
	if c.NATSURL != "" {
		wrong.Add("NATSURL", bus.CheckURL(c.NATSURL))
	}
	wrong.Add("PublisherCredentials", bus.CheckCredentials(c.PublisherCredentials))
	wrong.Add("AnswererCredentials", bus.CheckCredentials(c.AnswererCredentials))
	for _, name := range c.EventSubscribers {
		wrong.Want(isConsumer(name), "EventSubscribers", fmt.Sprintf("%q is not a name of up to 63 letters, digits, dashes and underscores", name))
	}
	wrong.Want(c.Replicas >= 0 && c.Replicas <= 5, "Replicas", "must be 1 to 5")
	if c.Issuer = strings.TrimSuffix(c.Issuer, "/"); c.Issuer != "" {
		wrong.Add("Issuer", token.CheckIssuer(c.Issuer))
	}
	c.readSecrets(&wrong)
	return wrong.Err()
}

// buses counts the ways to the bus that are given.
func (c *Config) buses() (n int) {
	for _, given := range []bool{c.NATSURL != "", c.Embedded != nil, c.Broker != nil} {
		if given {
			n++
		}
	}
	return n
}

// isConsumer reports whether a consumer can have the name: it is a token of subjects.
// The names that natsconfig takes are the same.
func isConsumer(name string) bool {
	return name != "" && len(name) <= 63 && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}
