package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/authbus/authbus/authsvc/internal/natsconfig"
)

// natsConfigCmd is `authsvc nats-config`.
type natsConfigCmd struct {
	TrustDomain string   `required:"" placeholder:"NAME" help:"Trust domain of the certificates, such as example.org."`
	Service     []string `placeholder:"NAME,..." help:"Services with a verifier."`
	Remote      []string `placeholder:"NAME,..." help:"Services that may also have whole tokens verified."`
	Gateway     []string `placeholder:"NAME,..." help:"Gateways." variable:"AUTHSVC_NATS_GATEWAY"`
	Subscriber  []string `placeholder:"NAME,..." help:"Services that read the events, each by the consumer of its name."`
	Operator    []string `placeholder:"NAME,..." help:"People with the nats command, who may look at everything."`

	TLSCert string `name:"tls-cert" default:"/etc/nats/nats.crt" help:"The server's certificate, with its host names." variable:"AUTHSVC_NATS_TLS_CERT"`
	TLSKey  string `name:"tls-key" default:"/etc/nats/nats.key" help:"The certificate's key." variable:"AUTHSVC_NATS_TLS_KEY"`
	TLSCA   string `name:"tls-ca" default:"/etc/nats/ca.crt" help:"The roots of the internal CA." variable:"AUTHSVC_NATS_TLS_CA"`

	// Not --listen alone: its variable is the one of the auth service.
	NATSListen      string        `name:"nats-listen" aliases:"listen" default:"0.0.0.0:4222" help:"Address for clients."`
	Monitor         string        `placeholder:"ADDRESS" help:"Loopback address of the monitoring page, which asks for no certificate. Default: none."`
	StoreDir        string        `default:"/var/lib/nats" help:"Directory of JetStream's data."`
	SyncInterval    time.Duration `default:"0s" zero:"" help:"How often data are synced to disk; 0s: each message before it is acknowledged."`
	MaxFile         int64         `default:"10737418240" help:"Most bytes of revocations and events on disk; events get three quarters of it, or in a cluster less."`
	MaxSessionsFile int64         `default:"1073741824" help:"Most bytes of gateway sessions on disk."`
	ServerName      string        `default:"nats-1" help:"Name of this server, its own in a cluster."`

	ClusterName   string   `placeholder:"NAME" help:"Name of the cluster; without it the server is alone."`
	ClusterListen string   `placeholder:"ADDRESS" help:"Address for the other servers. Default: 0.0.0.0:6222."`
	Route         []string `placeholder:"URL,..." help:"The other servers, nats-route://HOST:PORT."`
	ClusterCert   string   `placeholder:"FILE" help:"Certificate for the other servers, with this one's host name, good for client and server. Default: /etc/nats/route.crt."`
	ClusterKey    string   `placeholder:"FILE" help:"Its key. Default: /etc/nats/route.key."`

	Out   string `placeholder:"FILE" help:"File to write; default: standard output." variable:"AUTHSVC_NATS_CONFIG"`
	Force bool   `help:"Replace the file if it exists."`
}

// Run writes the configuration.
func (c *natsConfigCmd) Run(t *terminal) error {
	if c.ClusterName == "" && (len(c.Route) > 0 || c.ClusterListen+c.ClusterCert+c.ClusterKey != "") {
		return errors.New("--route, --cluster-listen, --cluster-cert and --cluster-key need --cluster-name")
	}
	text, err := natsconfig.Generate(c.config())
	if err != nil {
		return byFlag(err)
	}
	if c.Out == "" {
		_, err := t.out.Write(text)
		return err
	}
	if err := writeConfig(c.Out, text, c.Force); err != nil {
		return err
	}
	t.note("Written to %s. Check it with nats-server -t -c %s.", inert(c.Out), inert(c.Out))
	return nil
}

func (c *natsConfigCmd) config() natsconfig.Config {
	conf := natsconfig.Config{
		TrustDomain: c.TrustDomain, Services: c.Service, Remote: c.Remote, Gateways: c.Gateway,
		Subscribers: c.Subscriber, Operators: c.Operator, CertFile: c.TLSCert, KeyFile: c.TLSKey, CAFile: c.TLSCA,
		Listen: c.NATSListen, Monitor: c.Monitor, StoreDir: c.StoreDir, SyncInterval: c.SyncInterval,
		MaxFile: c.MaxFile, MaxSessionsFile: c.MaxSessionsFile, ServerName: c.ServerName,
	}
	if c.ClusterName != "" {
		conf.Cluster = &natsconfig.Cluster{
			Name: c.ClusterName, Listen: c.ClusterListen, Routes: c.Route,
			CertFile: cmp.Or(c.ClusterCert, "/etc/nats/route.crt"), KeyFile: cmp.Or(c.ClusterKey, "/etc/nats/route.key"),
		}
	}
	return conf
}

// byFlag says of each wrong field which flag it came from.
func byFlag(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	flags := map[string]string{
		"TrustDomain": "trust-domain", "Services": "service", "Remote": "remote", "Gateways": "gateway",
		"Subscribers": "subscriber", "Operators": "operator", "CertFile": "tls-cert", "KeyFile": "tls-key", "CAFile": "tls-ca",
		"Listen": "nats-listen", "Monitor": "monitor", "StoreDir": "store-dir", "SyncInterval": "sync-interval",
		"MaxFile": "max-file", "MaxSessionsFile": "max-sessions-file", "ServerName": "server-name",
		"Cluster.Name": "cluster-name", "Cluster.Listen": "cluster-listen", "Cluster.Routes": "route",
		"Cluster.CertFile": "cluster-cert", "Cluster.KeyFile": "cluster-key",
	}
	var lines []string
	for _, e := range joined.Unwrap() {
		var wrong *natsconfig.FieldError
		if !errors.As(e, &wrong) || flags[wrong.Field] == "" {
			return err
		}
		lines = append(lines, "--"+flags[wrong.Field]+" "+wrong.Reason)
	}
	return errors.New(strings.Join(lines, "\n"))
}

// writeConfig writes a file that others may read, there is no secret in it: the server
// may run as another user. Without force it replaces nothing.
func writeConfig(path string, text []byte, force bool) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".nats-config-*")
	if err != nil {
		return fmt.Errorf("--out: writing %s: %w", path, err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // after the rename there is nothing to remove
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("--out: writing %s: %w", path, err)
	}
	if force {
		return os.Rename(f.Name(), path)
	}
	// Other than rename, link refuses to replace.
	if err := os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("--out: %s exists: --force replaces it", path)
	} else if err != nil {
		return fmt.Errorf("--out: writing %s: %w", path, err)
	}
	return nil
}
