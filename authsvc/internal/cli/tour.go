package cli

import (
	"context"
	"os"

	"golang.org/x/term"

	"github.com/authbus/authbus/authsvc/internal/tour"
)

// tourCmd is `authsvc tour`.
type tourCmd struct {
	JSON bool `name:"json" help:"Print JSON, for programs: an object for each step, and for each answer."`
}

// Run shows the tour. Colours are for terminals only.
func (c *tourCmd) Run(ctx context.Context, t *terminal) error {
	f, isFile := t.out.(*os.File)
	color := isFile && term.IsTerminal(int(f.Fd())) && !c.JSON
	return tour.Run(ctx, tour.Config{Out: t.out, JSON: c.JSON, Color: color})
}
