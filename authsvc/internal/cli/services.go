package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

type servicesCmd struct {
	remote
	List   servicesListCmd   `cmd:"" help:"List the services."`
	Add    servicesAddCmd    `cmd:"" help:"Add a service; its secret is printed once."`
	Rotate servicesRotateCmd `cmd:"" help:"Give a service a new secret, which is printed once."`
	Remove servicesRemoveCmd `cmd:"" help:"Remove a service."`
}

type servicesListCmd struct{}

func (*servicesListCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	c, err := r.loggedIn()
	if err != nil {
		return err
	}
	services, err := c.Services(ctx)
	if err != nil {
		return err
	}
	return t.show(services, func() error {
		rows := make([][]string, len(services.Services))
		for i, s := range services.Services {
			rows[i] = []string{s.ID, strings.Join(s.Audiences, ","), when(s.CreatedAt)}
		}
		return t.table([]string{"ID", "AUDIENCES", "CREATED"}, rows)
	})
}

type servicesAddCmd struct {
	ID       string   `arg:"" name:"id" help:"The service's name, and the client id that it shows."`
	Audience []string `placeholder:"NAME,..." help:"Whose tokens the service may ask about, as they stand in aud; may be repeated. Default: its own name."`
}

func (cmd *servicesAddCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	c, err := r.loggedIn()
	if err != nil {
		return err
	}
	added, err := c.AddService(ctx, wire.ServiceRequest{ID: cmd.ID, Audiences: cmd.Audience})
	if err != nil {
		return err
	}
	return showSecret(t, added)
}

type servicesRotateCmd struct {
	ID      string        `arg:"" name:"id" help:"The service's name."`
	Overlap time.Duration `default:"1h" zero:"" help:"How long the secret before goes on working; 0s for one that has leaked."`
}

// maxOverlap is the auth service's bound.
const maxOverlap = 7 * 24 * time.Hour

func (cmd *servicesRotateCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	if cmd.Overlap < 0 || cmd.Overlap > maxOverlap || cmd.Overlap%time.Second != 0 {
		return field.New("Overlap", fmt.Sprintf("must be 0s to 168h, in whole seconds, not %v", cmd.Overlap))
	}
	c, err := r.loggedIn()
	if err != nil {
		return err
	}
	rotated, err := c.RotateService(ctx, cmd.ID, cmd.Overlap)
	if err != nil {
		return err
	}
	return showSecret(t, rotated)
}

// showSecret shows a new secret, which nobody can show again.
func showSecret(t *terminal, s wire.NewService) error {
	return t.show(s, func() error {
		t.note("The secret is shown this once.")
		if len(s.UnusedAudiences) > 0 {
			t.note("No token is for %s: see --audience here and --audiences of the auth service.",
				inert(strings.Join(s.UnusedAudiences, " or ")))
		}
		rows := [][]string{{"SECRET", s.Secret}, {"AUDIENCES", strings.Join(s.Audiences, ",")}}
		if s.PreviousUntil != nil {
			rows = append(rows, []string{"OLD SECRET WORKS UNTIL", when(*s.PreviousUntil)})
		}
		return t.table([]string{"ID", s.ID}, rows)
	})
}

type servicesRemoveCmd struct {
	ID string `arg:"" name:"id" help:"The service's name."`
}

func (cmd *servicesRemoveCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	c, err := r.loggedIn()
	if err != nil {
		return err
	}
	if err := c.RemoveService(ctx, cmd.ID); err != nil {
		return err
	}
	return t.show(struct {
		ID string `json:"id"`
	}{cmd.ID}, func() error { return t.say("%s can no longer ask.", inert(cmd.ID)) })
}
