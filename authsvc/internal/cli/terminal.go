package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

// terminal is where a command reads and writes.
type terminal struct {
	in       io.Reader
	out, err io.Writer
	env      environment
	json     bool // --json was given
}

// maxInput bounds a password or an answer that is read, in bytes.
const maxInput = 64 << 10

// fail prints the error and returns the exit status for it. For programs a
// refusal by the service is its problem document.
func (t *terminal) fail(err error, asJSON bool) int {
	if errors.Is(err, syscall.EPIPE) {
		return exitFailed // whoever reads has seen enough, as in `authsvc tour | head`
	}
	if asJSON {
		var doc any = failure{Code: "failed", Detail: err.Error()}
		if coded, ok := errors.AsType[*codedError](err); ok {
			doc = failure{Code: coded.code, Detail: err.Error()}
		}
		if refused, ok := errors.AsType[*client.Problem](err); ok {
			doc = refused.Problem
		}
		if encoded, errJSON := json.Marshal(doc); errJSON == nil {
			t.note("%s", inertJSON(encoded))
			return exitFailed
		}
	}
	t.note("authsvc: error: %s", inertLines(err.Error()))
	return exitFailed
}

// failure is, for programs, an error that did not come from the service.
type failure struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// codedError is an error that programs may want to tell from others.
type codedError struct {
	code string
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// note tells people something that is no result.
func (t *terminal) note(format string, args ...any) {
	_, _ = fmt.Fprintf(t.err, format+"\n", args...)
}

// interactive returns the file behind standard input if somebody sits there.
func (t *terminal) interactive() (*os.File, bool) {
	f, ok := t.in.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// ask asks for one line. Where nobody can answer, hint says what to do instead.
func (t *terminal) ask(question, hint string) (string, error) {
	f, ok := t.interactive()
	if !ok {
		return "", errors.New(hint)
	}
	_, _ = fmt.Fprint(t.err, question)
	line, err := bufio.NewReader(io.LimitReader(f, maxInput)).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	return strings.TrimSpace(line), nil
}

// askSecret asks for one line without showing it.
func (t *terminal) askSecret(question, hint string) (wire.Secret, error) {
	f, ok := t.interactive()
	if !ok {
		return "", errors.New(hint)
	}
	_, _ = fmt.Fprint(t.err, question)
	line, err := term.ReadPassword(int(f.Fd()))
	_, _ = fmt.Fprintln(t.err)
	if err != nil {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	return wire.Secret(line), nil
}

// confirm makes sure that a deed with wide effect is meant.
func (t *terminal) confirm(yes bool, effect string) error {
	if yes {
		return nil
	}
	answer, err := t.ask(effect+" This cannot be undone. Go on? Type yes: ",
		"this needs a confirmation: add --yes where nobody can be asked")
	if err != nil {
		return err
	}
	if answer != "yes" {
		return errors.New("not confirmed; nothing was done")
	}
	return nil
}

// passwordFlags say where a password comes from. It is never an argument,
// because arguments are open to every process of the machine.
type passwordFlags struct {
	PasswordFile  string `help:"Read the password from the first line of this file." type:"path" placeholder:"FILE" xor:"password"`
	PasswordStdin bool   `help:"Read the password from the first line of standard input." xor:"password"`
}

// read returns the password, asking for it where neither flag is given.
func (p passwordFlags) read(t *terminal, question string) (wire.Secret, error) {
	switch {
	case p.PasswordFile != "":
		password, err := readSecretFile(p.PasswordFile)
		return password, about("PasswordFile", err)
	case p.PasswordStdin:
		return firstLine(t.in)
	default:
		return t.askSecret(question, "no terminal to ask for the password: use --password-file or --password-stdin")
	}
}

func readSecretFile(path string) (wire.Secret, error) {
	f, err := os.Open(path) //nolint:gosec // the user names a file of their own
	if err != nil {
		return "", fmt.Errorf("opening the file with the secret: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	return firstLine(f)
}

// firstLine returns the first line without its end. Nothing else is trimmed:
// spaces may belong to a password.
func firstLine(r io.Reader) (wire.Secret, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxInput)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if line == "" {
		return "", errors.New("reading a secret: the first line is empty")
	}
	return wire.Secret(line), nil
}
