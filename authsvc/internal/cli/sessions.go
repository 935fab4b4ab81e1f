package cli

import (
	"context"

	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

type sessionsCmd struct {
	remote
	List sessionsListCmd `cmd:"" help:"List the live sessions of an account, or your own."`
	End  sessionsEndCmd  `cmd:"" help:"End a session, whoever it belongs to."`
}

type sessionsListCmd struct {
	Account string `arg:"" optional:"" help:"The account's sub, user name or e-mail address; your own where it is missing."`
}

func (cmd *sessionsListCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	list, err := cmd.fetch(ctx, r)
	if err != nil {
		return err
	}
	return t.show(list, func() error {
		rows := make([][]string, len(list.Sessions))
		for i, s := range list.Sessions {
			mark := ""
			if s.Current {
				mark = "this one"
			}
			rows[i] = []string{s.SID, s.ClientID, s.Address, when(s.CreatedAt), when(s.LastUsedAt), mark, s.UserAgent}
		}
		return t.table([]string{"SID", "CLIENT", "ADDRESS", "CREATED", "LAST USED", "CURRENT", "USER AGENT"}, rows)
	})
}

func (cmd *sessionsListCmd) fetch(ctx context.Context, r *remote) (wire.Sessions, error) {
	c, err := r.loggedIn()
	if err != nil {
		return wire.Sessions{}, err
	}
	if cmd.Account == "" {
		return c.Sessions(ctx)
	}
	sub, err := accountArg{cmd.Account}.sub(ctx, c)
	if err != nil {
		return wire.Sessions{}, err
	}
	return c.AccountSessions(ctx, sub)
}

type sessionsEndCmd struct {
	SID    string `arg:"" name:"sid" help:"The session's id."`
	Reason string `help:"Why; it is kept with the revocation." placeholder:"TEXT"`
}

func (cmd *sessionsEndCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	c, err := r.loggedIn()
	if err != nil {
		return err
	}
	ack, err := c.AdminEndSession(ctx, cmd.SID, cmd.Reason)
	if err != nil {
		return err
	}
	return t.acknowledge(ack)
}
