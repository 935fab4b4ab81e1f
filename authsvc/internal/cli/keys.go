package cli

import (
	"context"
	"time"

	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

type keysCmd struct {
	remote
	List   keysListCmd   `cmd:"" help:"List the signing keys."`
	Rotate keysRotateCmd `cmd:"" help:"Publish a new signing key; it signs once verifiers know it."`
	Kill   keysKillCmd   `cmd:"" help:"Kill a signing key at once."`
}

type keysListCmd struct{}

func (*keysListCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	c, err := r.loggedIn()
	if err != nil {
		return err
	}
	keys, err := c.Keys(ctx)
	if err != nil {
		return err
	}
	return t.show(keys, func() error { return t.keys(keys.Keys) })
}

func (t *terminal) keys(keys []wire.SigningKey) error {
	rows := make([][]string, len(keys))
	for i, k := range keys {
		rows[i] = []string{k.KID, k.Alg, k.State, when(k.CreatedAt), whenKnown(k.ActivatedAt), whenKnown(k.RetiresAt)}
	}
	return t.table([]string{"KID", "ALG", "STATE", "CREATED", "ACTIVATED", "RETIRES"}, rows)
}

func whenKnown(at *time.Time) string {
	if at == nil {
		return ""
	}
	return when(*at)
}

type keysRotateCmd struct{}

func (*keysRotateCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	c, err := r.loggedIn()
	if err != nil {
		return err
	}
	key, err := c.RotateKey(ctx)
	if err != nil {
		return err
	}
	return t.show(key, func() error { return t.keys([]wire.SigningKey{key}) })
}

type keysKillCmd struct {
	reasonFlag
	yesFlag
	KID string `arg:"" name:"kid" help:"The key's id."`
}

func (cmd *keysKillCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	if err := t.confirm(cmd.Yes, "This kills every token that the key signed."); err != nil {
		return err
	}
	c, err := r.loggedIn()
	if err != nil {
		return err
	}
	ack, err := c.KillKey(ctx, cmd.KID, cmd.Reason)
	if err != nil {
		return err
	}
	return t.acknowledge(ack)
}
