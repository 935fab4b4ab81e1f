package cli

import (
	"context"

	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

type servicesCmd struct {
	remote
	List   servicesListCmd   `cmd:"" help:"List the services."`
	Add    servicesAddCmd    `cmd:"" help:"Add a service; its secret is printed once."`
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
			rows[i] = []string{s.ID, when(s.CreatedAt)}
		}
		return t.table([]string{"ID", "CREATED"}, rows)
	})
}

type servicesAddCmd struct {
	ID string `arg:"" name:"id" help:"The service's name, as it stands in the aud of tokens that are meant for it."`
}

func (cmd *servicesAddCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	c, err := r.loggedIn()
	if err != nil {
		return err
	}
	added, err := c.AddService(ctx, wire.ServiceRequest{ID: cmd.ID})
	if err != nil {
		return err
	}
	return t.show(added, func() error {
		t.note("The secret is shown this once.")
		return t.table([]string{"ID", added.ID}, [][]string{{"SECRET", added.Secret}})
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
