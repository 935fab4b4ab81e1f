package main_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/freeport"
)

// TestTheGuide runs the guide's commands, all of them, in their order and in one
// shell, as a reader would. It holds outputs to what a comment behind a command says.
func TestTheGuide(t *testing.T) {
	for _, tool := range []string{"bash", "curl", "jq", "nats", "openssl", "python3"} {
		requireTool(t, tool)
	}
	bin, dir := filepath.Dir(build(t)), t.TempDir()
	run(t, "go", "build", "-o", filepath.Join(bin, "nats-server"), "github.com/nats-io/nats-server/v2")
	var found []string
	for _, b := range blocks(t, guide) {
		if b.language == "sh" {
			found = append(found, b.text)
		}
	}
	runScript(t, dir, place(t, script(found)), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+dir)
}

// runScript runs a script of bash in dir and fails unless all of it works.
func runScript(t *testing.T, dir, script string, env ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // its trap ends the rest
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("%v\n%s", err, out.String())
		logs, _ := filepath.Glob(filepath.Join(dir, "*.log")) // the pattern is good
		for _, name := range logs {
			log, _ := os.ReadFile(name)
			t.Logf("%s:\n%s", filepath.Base(name), log)
		}
	}
}

// place puts free addresses in the place of the guide's.
func place(t *testing.T, script string) string {
	t.Helper()
	for _, port := range []string{"4222", "8080", "8443", "8000"} {
		script = strings.ReplaceAll(script, "127.0.0.1:"+port, freeport.Address(t))
	}
	_, port, _ := strings.Cut(freeport.Address(t), ":")
	return strings.NewReplacer("127.0.0.1:9000", "127.0.0.1:"+port, "http.server 9000", "http.server "+port).Replace(script)
}

// prologue ends what runs in the background when the script ends, and waits for
// what a background command says once it is ready.
const prologue = `set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
trap 'exit 1' TERM
trap 'echo "failed: $BASH_COMMAND" >&2' ERR
await() {
  for _ in $(seq 400); do
    if grep -q "$2" "$1" && { [ -z "$3" ] || [ -s "$3" ]; }; then return; fi
    sleep 0.05
  done
  echo "not ready: $1" >&2; exit 1
}
expect() { if [ "$1" != "$2" ]; then echo "line $3: got $1, want $2" >&2; exit 1; fi; }
`

// reload returns before it is done; the server's log says when.
const reload = "nats-server --signal reload"

// ready is what the commands that run in the background say in the end of their start.
var ready = []struct{ command, says string }{
	{"nats-server -c", "Server is ready"},
	{"authsvc serve", `"msg":"serving"`},
	{"authsvc gateway", `"msg":"serving"`},
	{"authsvc ca serve", "renewing certificates"},
	{"python3 -m http.server", "Serving HTTP"},
}

// script is one script of all the blocks. What a command prints must be what the
// comment behind it says, where there is one.
func script(blocks []string) string {
	output := regexp.MustCompile(`^(.+?)   # (.+)$`)
	background := regexp.MustCompile(`^(.+?)(?: > (\S+))? &$`)
	var out strings.Builder
	out.WriteString(prologue)
	natsLog, n := "", 0
	for _, text := range blocks {
		for line := range strings.Lines(text) {
			n++
			line = strings.TrimSuffix(line, "\n")
			if o := output.FindStringSubmatch(line); o != nil {
				fmt.Fprintf(&out, "got=$(%s)\nexpect \"$got\" '%s' %d\n", o[1], o[2], n)
			} else if b := background.FindStringSubmatch(line); b != nil {
				log, file := fmt.Sprintf("%d.log", n), b[2]
				redirect := file
				if file == "" {
					redirect = log
				}
				if strings.HasPrefix(line, "nats-server") {
					natsLog = log
				}
				fmt.Fprintf(&out, "%s >> %s 2>> %s &\nawait %s '%s' '%s'\n", b[1], redirect, log, log, readyMark(b[1]), file)
			} else {
				out.WriteString(line + "\n")
			}
			if strings.HasPrefix(line, reload) {
				fmt.Fprintf(&out, "await %s 'Reloaded server configuration' ''\n", natsLog)
			}
		}
	}
	return out.String()
}

func readyMark(command string) string {
	for _, r := range ready {
		if strings.HasPrefix(command, r.command) {
			return r.says
		}
	}
	return "nobody knows when this is ready: " + command
}

// TestTheGuidesCode: every line of Go in it is a line of an example that compiles.
func TestTheGuidesCode(t *testing.T) {
	var examples strings.Builder
	for _, name := range []string{"../verifier/example_test.go", "../verifier/mtls/example_test.go"} {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		examples.Write(source)
	}
	lines := 0
	for _, b := range blocks(t, guide) {
		if b.language != "go" {
			continue
		}
		for line := range strings.Lines(b.text) {
			lines++
			if code := strings.TrimSpace(strings.Split(line, " // ")[0]); !strings.Contains(examples.String(), code) {
				t.Errorf("no example has %q", code)
			}
		}
	}
	if lines == 0 {
		t.Fatal("no Go in the guide")
	}
}
