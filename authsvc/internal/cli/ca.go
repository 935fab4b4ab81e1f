package cli

import (
	"time"

	"github.com/alecthomas/kong"

	"github.com/authbus/authbus/authsvc/internal/ca"
	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/events"
)

// caCmd is `authsvc ca`: the internal certificate authority, in a directory.
type caCmd struct {
	Dir    string      `type:"path" help:"Directory of the CA." default:"ca" placeholder:"DIR" variable:"AUTHSVC_CA_DIR"`
	Init   caInitCmd   `cmd:"" help:"Create a CA: a root, whose key you take away, and an intermediate that issues."`
	Issue  caIssueCmd  `cmd:"" help:"Issue a service its certificate, or a server one for its host names."`
	Renew  caRenewCmd  `cmd:"" help:"Issue the successor of a certificate, with a new key."`
	Revoke caRevokeCmd `cmd:"" help:"Revoke the certificates of a name, or one, and all that were renewed from it."`
	Show   caShowCmd   `cmd:"" help:"Show the CA and its certificates."`
	Bundle caBundleCmd `cmd:"" help:"Print the roots to trust, as PEM."`
	Rotate caRotateCmd `cmd:"" help:"Begin to issue from a new intermediate, or from a new root."`
	Serve  caServeCmd  `cmd:"" help:"Renew certificates over NATS for services that prove the one they have."`
}

// AfterApply hands the directory to the command that is about to run.
func (c *caCmd) AfterApply(k *kong.Context) error {
	k.Bind(caDir(c.Dir))
	return nil
}

// caDir is the directory of the CA.
type caDir string

func (d caDir) open() (*ca.CA, error) {
	authority, err := ca.Open(string(d))
	return authority, about("Dir", err)
}

// about says which field the error is of, unless it says so itself.
func about(name string, err error) error {
	if err == nil || len(field.In(err)) > 0 {
		return err
	}
	return &field.Error{Field: name, Err: err}
}

type caInitCmd struct {
	jsonFlag
	TrustDomain string `help:"Name under which the CA vouches, such as example.org." required:"" placeholder:"NAME"`
}

func (cmd *caInitCmd) Run(t *terminal, dir caDir) error {
	if err := ca.Init(string(dir), cmd.TrustDomain); err != nil {
		return about("Dir", err)
	}
	authority, err := dir.open()
	if err != nil {
		return err
	}
	return t.authority(authority, dir, func() error {
		return t.say("created the CA of %s in %s; keep its root-….key elsewhere: only rotation needs it", cmd.TrustDomain, inert(string(dir)))
	})
}

// certificateFlags are of commands that issue one.
type certificateFlags struct {
	jsonFlag
	Name string `arg:"" help:"The service's name, the path of its SPIFFE ID."`
	Out  string `type:"path" help:"Directory of NAME.crt, NAME.key and ca.crt." required:"" placeholder:"DIR"`
	// A pointer, because 0s is not the same as nothing.
	Lifetime *time.Duration `help:"How long it lives, at most 144h. Default: 24h, or as long as the one that it renews if that is more."`
}

// check returns the lifetime, 0 where none is given.
func (f certificateFlags) check() (time.Duration, error) {
	var wrong field.Checks
	wrong.Add("Name", events.CheckServiceName(f.Name))
	if f.Lifetime == nil {
		return 0, wrong.Err()
	}
	wrong.Add("Lifetime", ca.CheckLifetime(*f.Lifetime))
	return *f.Lifetime, wrong.Err()
}

type caIssueCmd struct {
	certificateFlags
	Host []string `field:"Hosts" help:"Host name or IP address of a server that stock clients reach; it gets no SPIFFE ID then. May be repeated." placeholder:"HOST,..."`
	Peer bool     `help:"With --host: good for a client as well, as the routes of a NATS cluster need it."`
}

func (cmd *caIssueCmd) Run(t *terminal, dir caDir) error {
	lifetime, err := cmd.check()
	if err != nil {
		return err
	}
	authority, err := dir.open()
	if err != nil {
		return err
	}
	if err := ca.CheckFiles(cmd.Out, cmd.Name); err != nil {
		return about("Out", err)
	}
	issued, err := authority.Issue(ca.Request{Name: cmd.Name, Hosts: cmd.Host, Peer: cmd.Peer, Lifetime: lifetime})
	if err != nil {
		return err
	}
	if err := issued.WriteFiles(cmd.Out, cmd.Name); err != nil {
		return about("Out", err)
	}
	return t.issued(authority, issued, cmd.Out)
}

type caRenewCmd struct{ certificateFlags }

func (cmd *caRenewCmd) Run(t *terminal, dir caDir) error {
	lifetime, err := cmd.check()
	if err != nil {
		return err
	}
	authority, err := dir.open()
	if err != nil {
		return err
	}
	if err := authority.CheckReplace(cmd.Out, cmd.Name); err != nil {
		return about("Out", err)
	}
	issued, err := authority.Renew(cmd.Name, lifetime)
	if err != nil {
		return err
	}
	if err := issued.ReplaceFiles(cmd.Out, cmd.Name); err != nil {
		return about("Out", err)
	}
	return t.issued(authority, issued, cmd.Out)
}

// certificateDoc is a certificate, for programs.
type certificateDoc struct {
	Name      string    `json:"name"`
	SPIFFEID  string    `json:"spiffe_id,omitempty"`
	Hosts     []string  `json:"hosts,omitempty"`
	Peer      bool      `json:"peer,omitempty"`
	Serial    string    `json:"serial"`
	ID        string    `json:"id"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Renews    string    `json:"renews,omitempty"`
}

func documentOf(trustDomain string, r ca.Record) certificateDoc {
	doc := certificateDoc{
		Name: r.Name, Hosts: r.Hosts, Peer: r.Peer, Serial: r.Serial, ID: r.ID, NotBefore: r.NotBefore, NotAfter: r.NotAfter,
		Renews: r.Renews,
	}
	if len(r.Hosts) == 0 {
		doc.SPIFFEID, _ = events.SPIFFEID(trustDomain, r.Name) // the certificate has it, so it is one
	}
	return doc
}

// issuedDoc is what `ca issue --json` and `ca renew --json` print.
type issuedDoc struct {
	certificateDoc
	Files ca.Files `json:"files"`
}

func (t *terminal) issued(authority *ca.CA, i *ca.Issued, out string) error {
	info, err := authority.Info()
	if err != nil {
		return err
	}
	files, err := ca.FilesIn(out, i.Record.Name)
	if err != nil {
		return err
	}
	return t.show(issuedDoc{documentOf(info.TrustDomain, i.Record), files}, func() error {
		return t.say("issued %s, serial %s, until %s", i.Record.Name, i.Record.Serial, when(i.Record.NotAfter))
	})
}
