package cli

import (
	"context"
	"errors"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

type loginCmd struct {
	remote
	passwordFlags
	Name string `arg:"" optional:"" name:"login" help:"User name or e-mail address; asked for where it is missing."`
}

func (cmd *loginCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	c, err := r.anonymous()
	if err != nil {
		return err
	}
	if cmd.Name == "" {
		if cmd.Name, err = t.ask("Login: ", "say who you are: authsvc login NAME"); err != nil {
			return err
		}
	}
	r.warnIfOpen(t)
	password, err := cmd.read(t, "Password: ")
	if err != nil {
		return err
	}
	tokens, err := c.Login(ctx, wire.LoginRequest{Login: cmd.Name, Password: password})
	if err != nil {
		return err
	}
	kept, err := r.credentials()
	if err != nil {
		return err
	}
	if err := kept.save(c.Server(), keep(cmd.Name, tokens)); err != nil {
		return err
	}
	result := struct {
		Server string `json:"server"`
		Login  string `json:"login"`
		Sub    string `json:"sub"`
		SID    string `json:"sid"`
	}{c.Server(), cmd.Name, tokens.Sub, tokens.SID}
	return t.show(result, func() error {
		return t.say("Logged in to %s as %s (%s).", inert(c.Server()), inert(cmd.Name), inert(tokens.Sub))
	})
}

type logoutCmd struct{ remote }

// Run ends the session and forgets the tokens; where the session is over already
// they are forgotten all the same.
func (*logoutCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	c, err := r.loggedIn()
	if err != nil {
		return err
	}
	ack, err := c.Logout(ctx)
	over := client.HasCode(err, "invalid_token") || client.HasCode(err, "invalid_grant")
	if err != nil && !over {
		return err
	}
	kept, errKept := r.credentials()
	if errKept != nil {
		return errKept
	}
	if err := kept.forget(c.Server()); err != nil {
		return err
	}
	if over {
		return t.show(struct{}{}, func() error { return t.say("The session had ended already; the tokens are forgotten.") })
	}
	return t.acknowledge(ack)
}

type bootstrapCmd struct {
	remote
	passwordFlags
	Username   string `help:"User name of the first admin." required:"" placeholder:"NAME"`
	Email      string `help:"E-mail address of the first admin." required:"" placeholder:"ADDRESS"`
	SecretFile string `help:"Read the one-time secret from the first line of this file; asked for where it is missing." type:"path" placeholder:"FILE" variable:"AUTHSVC_BOOTSTRAP_SECRET_FILE"`
}

func (cmd *bootstrapCmd) Run(ctx context.Context, t *terminal, r *remote) error {
	c, err := r.anonymous()
	if err != nil {
		return err
	}
	r.warnIfOpen(t)
	secret, err := cmd.secret(t)
	if err != nil {
		return err
	}
	password, err := cmd.newPassword(t)
	if err != nil {
		return err
	}
	account, err := c.Bootstrap(ctx, wire.BootstrapRequest{
		Secret: secret, Username: cmd.Username, Email: cmd.Email, Password: password,
	})
	if err != nil {
		return err
	}
	return t.show(account, func() error {
		return t.say("Created the first admin %s (%s). Next: authsvc login %s",
			inert(account.Username), inert(account.Sub), inert(account.Username))
	})
}

func (cmd *bootstrapCmd) secret(t *terminal) (wire.Secret, error) {
	if cmd.SecretFile != "" {
		secret, err := readSecretFile(cmd.SecretFile)
		return secret, about("SecretFile", err)
	}
	return t.askSecret("One-time secret: ", "no terminal to ask for the one-time secret: use --secret-file")
}

// newPassword asks twice where it asks: nobody sees what they type.
func (p passwordFlags) newPassword(t *terminal) (wire.Secret, error) {
	password, err := p.read(t, "New password: ")
	if err != nil || p.PasswordFile != "" || p.PasswordStdin {
		return password, err
	}
	again, err := p.read(t, "New password, again: ")
	if err != nil {
		return "", err
	}
	if again != password {
		return "", errors.New("the two passwords differ; nothing was done")
	}
	return password, nil
}
