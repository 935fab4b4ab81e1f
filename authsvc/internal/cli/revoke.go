package cli

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

type revokeCmd struct {
	remote
	Token    revokeTokenCmd    `cmd:"" help:"Revoke one access token."`
	Session  revokeSessionCmd  `cmd:"" help:"Revoke one session and all its tokens."`
	User     revokeUserCmd     `cmd:"" help:"Log a user out everywhere."`
	Everyone revokeEveryoneCmd `cmd:"" help:"Log everyone out, yourself included."`
	Key      revokeKeyCmd      `cmd:"" help:"Kill a signing key and with it every token that it signed."`
	Cert     revokeCertCmd     `cmd:"" help:"Revoke a service's certificate; its connections end."`
}

// reasonFlag is required: a forced logout will be asked about later.
type reasonFlag struct {
	Reason string `help:"Why; it is kept with the revocation." required:"" placeholder:"TEXT"`
}

type yesFlag struct {
	Yes bool `help:"Do not ask for a confirmation."`
}

type revokeTokenCmd struct {
	reasonFlag
	JTI string `arg:"" name:"jti" help:"The token's jti."`
}

func (cmd *revokeTokenCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	return revoke(ctx, t, r, wire.RevokeRequest{Scope: "token", ID: cmd.JTI, Reason: cmd.Reason})
}

type revokeSessionCmd struct {
	reasonFlag
	SID string `arg:"" name:"sid" help:"The session's id."`
}

func (cmd *revokeSessionCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	return revoke(ctx, t, r, wire.RevokeRequest{Scope: "session", ID: cmd.SID, Reason: cmd.Reason})
}

type revokeUserCmd struct {
	reasonFlag
	accountArg
}

// Run revokes a sub as it stands, whether the database knows it or not; anything
// else is a name that the service looks up.
func (cmd *revokeUserCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	sub := cmd.Account
	if !strings.HasPrefix(sub, "u_") {
		c, err := r.loggedIn()
		if err != nil {
			return err
		}
		if sub, err = cmd.sub(ctx, c); err != nil {
			return err
		}
	}
	return revoke(ctx, t, r, wire.RevokeRequest{Scope: "user", ID: sub, Reason: cmd.Reason})
}

type revokeEveryoneCmd struct {
	reasonFlag
	yesFlag
}

func (cmd *revokeEveryoneCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	if err := t.confirm(cmd.Yes, "This logs out everyone, yourself included."); err != nil {
		return err
	}
	return revoke(ctx, t, r, wire.RevokeRequest{Scope: "everyone", Reason: cmd.Reason, Confirm: true})
}

type revokeKeyCmd struct {
	reasonFlag
	yesFlag
	KID string `arg:"" name:"kid" help:"The key's id."`
}

func (cmd *revokeKeyCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	if err := t.confirm(cmd.Yes, "This kills every token that the key signed."); err != nil {
		return err
	}
	return revoke(ctx, t, r, wire.RevokeRequest{Scope: "key", ID: cmd.KID, Reason: cmd.Reason, Confirm: true})
}

type revokeCertCmd struct {
	reasonFlag
	ID       string    `arg:"" name:"id" help:"The SHA-256 of the certificate's SubjectPublicKeyInfo, in hex."`
	NotAfter time.Time `help:"When the certificate ends, as 2006-01-02T15:04:05Z; until then it stays revoked. Default: a week from now." placeholder:"TIME"`
}

func (cmd *revokeCertCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	return revoke(ctx, t, r, wire.RevokeRequest{Scope: "cert", ID: cmd.ID, Reason: cmd.Reason, NotAfter: cmd.NotAfter})
}

func revoke(ctx context.Context, t *terminal, r *remote, req wire.RevokeRequest) error {
	c, err := r.loggedIn()
	if err != nil {
		return err
	}
	done, err := c.Revoke(ctx, req)
	if err != nil {
		return err
	}
	if !done.Known {
		t.note("authsvc: warning: the database knows no %s %s; it is revoked all the same", inert(req.Scope), inert(req.ID))
	}
	return t.show(done, func() error { return t.say("%s", delivery(done.Ack)) })
}

// acknowledge prints what the service acknowledged.
func (t *terminal) acknowledge(ack wire.Ack) error {
	return t.show(ack, func() error { return t.say("%s", delivery(ack)) })
}

func delivery(ack wire.Ack) string {
	text := "acknowledged as revision " + strconv.FormatUint(ack.Rev, 10)
	if ack.Delivery == wire.Delivered {
		return text + ", delivered"
	}
	return text + "; delivery pending: the bus is down; verifiers refuse or ask within their bound"
}

type revocationsCmd struct {
	remote
	List revocationsListCmd `cmd:"" help:"List the revocations that are alive, newest first."`
}

type revocationsListCmd struct {
	Limit int `zero:"" help:"How many at most; 0 for all." default:"100"`
}

func (cmd *revocationsListCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	c, err := r.loggedIn()
	if err != nil {
		return err
	}
	all, more, err := pages(cmd.Limit, func(size int, cursor string) ([]wire.Revocation, string, error) {
		page, err := c.Revocations(ctx, wire.PageRequest{Limit: size, Cursor: cursor})
		return page.Revocations, page.Next, err
	})
	if err != nil {
		return err
	}
	t.noteMore(more)
	return t.show(wire.RevocationPage{Revocations: all}, func() error {
		rows := make([][]string, len(all))
		for i, v := range all {
			rows[i] = []string{
				strconv.FormatUint(v.Rev, 10), v.Scope, v.ID, when(v.At), when(v.ExpiresAt), v.Actor, v.Reason,
			}
		}
		return t.table([]string{"REV", "SCOPE", "ID", "AT", "UNTIL", "ACTOR", "REASON"}, rows)
	})
}
