package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/authsvc/internal/natsconfig"
)

// natsConfigCmd is `authsvc nats-config`.
type natsConfigCmd struct {
	TrustDomain string   `required:"" placeholder:"NAME" help:"Trust domain of the certificates, such as example.org."`
	Service     []string `field:"Services" placeholder:"NAME,..." help:"Services with a verifier."`
	Remote      []string `placeholder:"NAME,..." help:"Services that may also have whole tokens verified."`
	Gateway     []string `field:"Gateways" placeholder:"NAME,..." help:"Gateways." variable:"AUTHSVC_NATS_GATEWAY"`
	Subscriber  []string `field:"Subscribers" placeholder:"NAME,..." help:"Services that read the events, each by the consumer of its name."`
	Operator    []string `field:"Operators" placeholder:"NAME,..." help:"People with the nats command, who may look at everything."`

	TLSCert string `field:"CertFile" name:"tls-cert" default:"/etc/nats/nats.crt" help:"The server's certificate, with its host names." variable:"AUTHSVC_NATS_TLS_CERT"`
	TLSKey  string `field:"KeyFile" name:"tls-key" default:"/etc/nats/nats.key" help:"The certificate's key." variable:"AUTHSVC_NATS_TLS_KEY"`
	TLSCA   string `field:"CAFile" name:"tls-ca" default:"/etc/nats/ca.crt" help:"The roots of the internal CA." variable:"AUTHSVC_NATS_TLS_CA"`

	// Not --listen alone: its variable is the one of the auth service.
	NATSListen      string        `field:"Listen" name:"nats-listen" aliases:"listen" default:"0.0.0.0:4222" help:"Address for clients."`
	Monitor         string        `placeholder:"ADDRESS" help:"Loopback address of the monitoring page, which asks for no certificate. Default: none."`
	StoreDir        string        `default:"/var/lib/nats" help:"Directory of JetStream's data."`
	SyncInterval    time.Duration `default:"0s" zero:"" help:"How often data are synced to disk; 0s: each message before it is acknowledged."`
	MaxFile         int64         `default:"10737418240" help:"Most bytes of revocations and events on disk; events get three quarters of it, or in a cluster less."`
	MaxSessionsFile int64         `default:"1073741824" help:"Most bytes of gateway sessions on disk."`
	ServerName      string        `default:"nats-1" help:"Name of this server, its own in a cluster."`

	ClusterName   string   `field:"Cluster.Name" placeholder:"NAME" help:"Name of the cluster; without it the server is alone."`
	ClusterListen string   `field:"Cluster.Listen" placeholder:"ADDRESS" help:"Address for the other servers. Default: 0.0.0.0:6222."`
	Route         []string `field:"Cluster.Routes" placeholder:"URL,..." help:"The other servers, nats-route://HOST:PORT."`
	ClusterCert   string   `field:"Cluster.CertFile" placeholder:"FILE" help:"Certificate for the other servers, with this one's host name, good for client and server. Default: /etc/nats/route.crt."`
	ClusterKey    string   `field:"Cluster.KeyFile" placeholder:"FILE" help:"Its key. Default: /etc/nats/route.key."`

	Out   string `placeholder:"FILE" help:"File to write; default: standard output." variable:"AUTHSVC_NATS_CONFIG"`
	Force bool   `help:"Replace the file if it exists."`
}

// Run writes the configuration.
func (c *natsConfigCmd) Run(t *terminal) error {
	if err := c.checkCluster(); err != nil {
		return err
	}
	text, err := natsconfig.Generate(c.config())
	if err != nil {
		return err
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

// checkCluster refuses what is for a cluster where there is none.
func (c *natsConfigCmd) checkCluster() error {
	if c.ClusterName != "" {
		return nil
	}
	var wrong field.Checks
	wrong.Want(c.ClusterListen == "", "Cluster.Listen", "needs --cluster-name")
	wrong.Want(len(c.Route) == 0, "Cluster.Routes", "needs --cluster-name")
	wrong.Want(c.ClusterCert == "", "Cluster.CertFile", "needs --cluster-name")
	wrong.Want(c.ClusterKey == "", "Cluster.KeyFile", "needs --cluster-name")
	return wrong.Err()
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

// writeConfig writes a file that others may read, there is no secret in it: the server
// may run as another user. Without force it replaces nothing.
func writeConfig(path string, text []byte, force bool) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".nats-config-*")
	if err != nil {
		return &field.Error{Field: "Out", Err: fmt.Errorf("writing %s: %w", path, err)}
	}
	defer os.Remove(f.Name()) //nolint:errcheck // after the rename there is nothing to remove
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return &field.Error{Field: "Out", Err: fmt.Errorf("writing %s: %w", path, err)}
	}
	if force {
		if err := os.Rename(f.Name(), path); err != nil {
			return &field.Error{Field: "Out", Err: err}
		}
		return nil
	}
	// Other than rename, link refuses to replace.
	if err := os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
		return field.New("Out", path+" exists: --force replaces it")
	} else if err != nil {
		return &field.Error{Field: "Out", Err: fmt.Errorf("writing %s: %w", path, err)}
	}
	return nil
}
