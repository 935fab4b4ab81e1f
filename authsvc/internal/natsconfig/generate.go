package natsconfig

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/events"
)

//go:embed nats.conf.tmpl
var layout string

// Generate returns the configuration. The same Config always gives the same bytes. The
// error joins a [*field.Error] for every field that is wrong.
func Generate(c Config) ([]byte, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	t, err := template.New("nats.conf").Funcs(template.FuncMap{"join": strings.Join, "user": c.user}).Parse(layout)
	if err != nil {
		return nil, fmt.Errorf("reading the template: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, c.page()); err != nil {
		return nil, fmt.Errorf("writing the configuration: %w", err)
	}
	return out.Bytes(), nil
}

// page is what the template shows.
type page struct {
	Config
	MinServer, Sync, Auth, System string
	TotalFile                     int64
	Accounts                      []account
}

type account struct {
	Name, About string
	// MaxFile 0 means that the account has no JetStream.
	MaxFile                  int64
	MaxStreams, MaxConsumers int
	Exports, Imports         []export
	Identities               []Identity
}

func (c Config) page() page {
	copies := c.copies()
	p := page{
		Config: c, MinServer: bus.MinServer, Sync: "always", Auth: AccountAuth, System: AccountSystem,
		TotalFile: c.MaxFile,
		Accounts: []account{
			{
				Name: AccountAuth, About: "The auth service and its streams. Nobody else must ever be in here.",
				MaxFile: copies * c.MaxFile, MaxStreams: 2, MaxConsumers: spareConsumers + len(c.Subscribers),
			},
			{Name: AccountApps, About: "Services, subscribers and operators. There is no JetStream, so no reply can be turned into a request to it."},
		},
	}
	if c.SyncInterval > 0 {
		p.Sync = c.SyncInterval.Round(time.Millisecond).String()
	}
	if len(c.Gateways) > 0 {
		p.TotalFile += c.MaxSessionsFile
		p.Accounts = append(p.Accounts, account{
			Name: AccountGateway, About: "Gateways, and the bucket of their sessions.",
			MaxFile: copies * c.MaxSessionsFile, MaxStreams: 1, MaxConsumers: 1,
		})
	}
	p.Accounts = append(p.Accounts, account{Name: AccountSystem, About: "The server's own account."})
	for i := range p.Accounts {
		c.fill(&p.Accounts[i])
	}
	return p
}

// copies is how many copies of a stream there may be at most. An account's limit counts
// each of them, a server's its own.
func (c Config) copies() int64 {
	if c.Cluster == nil {
		return 1
	}
	return int64(min(len(c.Cluster.Routes)+1, maxReplicas))
}

// maxReplicas is the most that a stream can have.
const maxReplicas = 5

// spareConsumers are those that come and go: of replicas of the auth service while
// they compare the database with the streams.
const spareConsumers = 64

// fill adds who is in the account, and what it gives or takes.
func (c Config) fill(a *account) {
	for _, id := range c.Identities() {
		if id.Account == a.Name {
			a.Identities = append(a.Identities, id)
		}
	}
	for _, e := range c.exports() {
		if a.Name == AccountAuth {
			a.Exports = append(a.Exports, e)
		} else if slices.Contains(e.To, a.Name) {
			a.Imports = append(a.Imports, e)
		}
	}
}

// user is the name of an identity's user. Both parts have been checked.
func (c Config) user(name string) (string, error) { return events.SPIFFEID(c.TrustDomain, name) }
