package cli

import (
	"context"
	"strings"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

type accountsCmd struct {
	remote
	List    accountsListCmd    `cmd:"" help:"List accounts."`
	Show    accountsShowCmd    `cmd:"" help:"Show an account."`
	Disable accountsDisableCmd `cmd:"" help:"Disable an account and end its sessions."`
	Enable  accountsEnableCmd  `cmd:"" help:"Enable a disabled account."`
}

// pageSize is how many entries a command asks for at once.
const pageSize = 200

// pages collects entries page by page until limit is reached (0: all of them),
// and reports whether there are more.
func pages[T any](limit int, fetch func(size int, cursor string) ([]T, string, error)) ([]T, bool, error) {
	all := []T{}
	for cursor := ""; ; {
		size := pageSize
		if limit > 0 {
			size = min(size, limit-len(all))
		}
		page, next, err := fetch(size, cursor)
		if err != nil {
			return nil, false, err
		}
		all = append(all, page...)
		if next == "" || (limit > 0 && len(all) >= limit) {
			return all, next != "", nil
		}
		cursor = next
	}
}

// noteMore tells people that a list was cut.
func (t *terminal) noteMore(more bool) {
	if more {
		t.note("There are more: --limit 0 shows all.")
	}
}

type accountsListCmd struct {
	Search string `help:"Only those with this in their user name or e-mail address." placeholder:"TEXT"`
	Limit  int    `zero:"" help:"How many at most; 0 for all." default:"100"`
}

func (cmd *accountsListCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	c, err := r.loggedIn()
	if err != nil {
		return err
	}
	all, more, err := pages(cmd.Limit, func(size int, cursor string) ([]wire.Account, string, error) {
		page, err := c.Accounts(ctx, wire.AccountsRequest{Search: cmd.Search, Limit: size, Cursor: cursor})
		return page.Accounts, page.Next, err
	})
	if err != nil {
		return err
	}
	t.noteMore(more)
	return t.show(wire.AccountPage{Accounts: all}, func() error {
		rows := make([][]string, len(all))
		for i, a := range all {
			rows[i] = []string{a.Sub, a.Username, a.Email, a.Status, strings.Join(a.Roles, " "), when(a.CreatedAt)}
		}
		return t.table([]string{"SUB", "USERNAME", "EMAIL", "STATUS", "ROLES", "CREATED"}, rows)
	})
}

// accountArg names an account.
type accountArg struct {
	Account string `arg:"" help:"The account's sub, user name or e-mail address."`
}

// sub returns the account's sub, asking the service where something else was given.
func (a accountArg) sub(ctx context.Context, c *client.Client) (string, error) {
	account, err := c.Account(ctx, a.Account)
	return account.Sub, err
}

type accountsShowCmd struct{ accountArg }

func (cmd *accountsShowCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	c, err := r.loggedIn()
	if err != nil {
		return err
	}
	a, err := c.Account(ctx, cmd.Account)
	if err != nil {
		return err
	}
	return t.show(a, func() error {
		return t.table([]string{"SUB", a.Sub}, [][]string{
			{"USERNAME", a.Username},
			{"EMAIL", a.Email},
			{"STATUS", a.Status},
			{"ROLES", strings.Join(a.Roles, " ")},
			{"CREATED", when(a.CreatedAt)},
		})
	})
}

type accountsDisableCmd struct {
	accountArg
	Reason string `help:"Why; it is kept with the revocation." placeholder:"TEXT"`
}

func (cmd *accountsDisableCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	c, err := r.loggedIn()
	if err != nil {
		return err
	}
	sub, err := cmd.sub(ctx, c)
	if err != nil {
		return err
	}
	ack, err := c.DisableAccount(ctx, sub, cmd.Reason)
	if err != nil {
		return err
	}
	return t.acknowledge(ack)
}

type accountsEnableCmd struct {
	accountArg
	Reason string `help:"Why." placeholder:"TEXT"`
}

func (cmd *accountsEnableCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	c, err := r.loggedIn()
	if err != nil {
		return err
	}
	sub, err := cmd.sub(ctx, c)
	if err != nil {
		return err
	}
	account, err := c.EnableAccount(ctx, sub, cmd.Reason)
	if err != nil {
		return err
	}
	return t.show(account, func() error { return t.say("%s can log in again.", inert(account.Username)) })
}
