package cli

import (
	"errors"
	"fmt"

	"github.com/authbus/authbus/authsvc/internal/ca"
	"github.com/authbus/authbus/authsvc/internal/field"
)

type caRotateCmd struct {
	jsonFlag
	Root    bool   `help:"Make a new root as well; the old one stays trusted." xor:"what"`
	DropOld bool   `help:"End the overlap after --root: trust only the new root." xor:"what"`
	RootKey string `type:"path" help:"File of the current root's key; default: in the CA's directory." placeholder:"FILE"`
}

func (cmd *caRotateCmd) Run(t *terminal, dir caDir) error {
	if cmd.DropOld && cmd.RootKey != "" {
		return field.New("RootKey", "is not needed with --drop-old")
	}
	authority, err := dir.open()
	if err != nil {
		return err
	}
	said := "issuing from a new intermediate"
	switch {
	case cmd.DropOld:
		err = dropOld(authority)
		said = "only the current root is trusted; give services the new bundle at their leisure"
	case cmd.Root:
		err = authority.RotateRoot(cmd.RootKey)
		said = "issuing below a new root; keep its root-….key elsewhere, and run rotate --drop-old when show lists no older certificate"
	default:
		err = authority.RotateIntermediate(cmd.RootKey)
	}
	if err != nil {
		return err
	}
	return t.authority(authority, dir, func() error { return t.say("%s", said) })
}

// dropOld fails where there is nothing to drop: whoever says so believes in an old
// root, and may look at the wrong directory.
func dropOld(authority *ca.CA) error {
	err := authority.DropOldRoots()
	switch {
	case errors.Is(err, ca.ErrNoOldRoot):
		return &codedError{"no_old_root", fmt.Errorf("--drop-old: %w", ca.ErrNoOldRoot)}
	case errors.Is(err, ca.ErrTooEarly):
		return &codedError{"old_root_needed", err}
	}
	return err
}
