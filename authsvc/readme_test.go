package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/freeport"
)

// TestCommandsOfTheDocuments runs every command that a document names. One that
// no case here knows fails the test.
func TestCommandsOfTheDocuments(t *testing.T) {
	binary := build(t)
	dev := startDev(t, binary, t.TempDir())
	for _, command := range commands(t) {
		t.Run(command, func(t *testing.T) { runCommand(t, binary, dev, command) })
	}
	dev.stop(t)
}

// TestTheQuickstart runs what the README has a reader type in a second terminal, in
// one shell, beside a stack that runs in the first.
func TestTheQuickstart(t *testing.T) {
	for _, tool := range []string{"bash", "curl", "jq"} {
		requireTool(t, tool)
	}
	dir := t.TempDir()
	dev := startDev(t, build(t), dir)
	runScript(t, dir, dev.place(script(quickstart(t))))
	dev.stop(t)
}

// quickstart are the README's blocks that begin with curl.
func quickstart(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, b := range blocks(t, readme) {
		if isQuickstart(b) {
			found = append(found, b.text)
		}
	}
	if len(found) == 0 {
		t.Fatal("the README has no quickstart")
	}
	return found
}

func isQuickstart(b block) bool {
	return b.language == "sh" && regexp.MustCompile(`^([A-Z]+=\$\()?curl `).MatchString(b.text)
}

// mentioned are commands that a document names in its text, and that other tests run:
// the guide's, or the scripts of the command line.
var mentioned = []string{
	"authsvc ca", "authsvc ca revoke NAME", "authsvc ca rotate --drop-old", "authsvc ca serve", "authsvc ca show",
	"authsvc keys kill KID", "authsvc nats-config",
}

// checkElsewhere finds a line that runs the command, whatever it is run with.
func checkElsewhere(t *testing.T, command string) {
	t.Helper()
	var lines []string
	for _, b := range blocks(t, guide) {
		lines = append(lines, strings.Split(b.text, "\n")...)
	}
	scripts, err := filepath.Glob("internal/cli/testdata/script/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range scripts {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if run, ok := strings.CutPrefix(strings.TrimPrefix(line, "! "), "exec "); ok {
				lines = append(lines, strings.TrimSpace(run))
			}
		}
	}
	words := strings.Fields(command)
	words = slices.DeleteFunc(words, func(word string) bool { return word == strings.ToUpper(word) && !strings.HasPrefix(word, "-") })
	if !slices.ContainsFunc(lines, func(line string) bool { return runs(strings.Fields(line), words) }) {
		t.Error("neither the guide nor a script runs it")
	}
}

// runs reports whether a line begins with the words of a command and has its flags.
func runs(line, command []string) bool {
	for i, word := range command {
		if strings.HasPrefix(word, "-") && !slices.Contains(line, word) ||
			!strings.HasPrefix(word, "-") && (i >= len(line) || line[i] != word) {
			return false
		}
	}
	return true
}

func runCommand(t *testing.T, binary string, dev *devStack, command string) {
	t.Helper()
	switch {
	case command == "go run ./authsvc tour":
		checkTour(t, run(t, binary, "tour", "--json"))
	case command == "go run ./authsvc dev":
		// dev runs already.
	case command == "go run ./authsvc dev --mtls":
		mutual := startDev(t, binary, t.TempDir(), "--mtls", "--listen-mtls", freeport.Address(t))
		if !strings.Contains(mutual.said, "nats -s tls://"+mutual.nats+" --tlscert ") {
			t.Errorf("it says\n%s", mutual.said)
		}
		mutual.stop(t)
	case command == "go build ./authsvc":
		build(t)
	case slices.Contains(mentioned, command):
		checkElsewhere(t, command)
	case command == "openssl rand -base64 32":
		requireTool(t, "openssl")
		if out := shell(t, command); len(out) != 45 {
			t.Errorf("got %q", out)
		}
	case command == "authsvc serve --help":
		if out := run(t, binary, "serve", "--help"); !strings.Contains(out, "$AUTHSVC_DATABASE_URL") {
			t.Errorf("no environment variables in\n%s", out)
		}
	case command == "go test ./...":
		checkCIRuns(t, command)
	case strings.HasPrefix(command, "go test -run '^$' -bench "):
		out := shell(t, command+" -benchtime 1x")
		if !strings.Contains(out, "Benchmark") || !strings.Contains(out, "\nok ") {
			t.Errorf("no benchmark ran:\n%s", out)
		}
	case command == "nats sub 'auth.events.>'":
		checkSubscription(t, dev, command)
	default:
		t.Errorf("no test runs the command %q", command)
	}
}

// commands returns the lines of shell blocks and the commands in the text, but for
// those that a test of their own runs in one go.
func commands(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, name := range documents(t) {
		for _, b := range blocks(t, name) {
			if b.language == "sh" && name != guide && !isQuickstart(b) {
				found = append(found, strings.Split(strings.TrimSpace(b.text), "\n")...)
			}
		}
		found = append(found, inlineCommands(t, name)...)
	}
	for i, command := range found { // a comment explains, and is no part of it
		found[i] = strings.TrimSpace(strings.Split(command, "   #")[0])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// TestTheFiveLines: the README's Go code is the body of an example that compiles,
// without its handling of errors.
func TestTheFiveLines(t *testing.T) {
	source, err := os.ReadFile("../verifier/example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var code string
	for _, b := range blocks(t, readme) {
		if b.language == "go" {
			code += b.text
		}
	}
	_, body, _ := strings.Cut(string(source), "func Example() {\n")
	body, _, _ = strings.Cut(body, "\n}\n")
	body = regexp.MustCompile(`(?m)\n\tif err != nil \{\n.*\n\t\}| //nolint.*|^\t`).ReplaceAllString(body, "")
	if strings.TrimSpace(code) != strings.TrimSpace(body) {
		t.Errorf("the README shows\n%s\nand the example does\n%s", code, body)
	}
}

// step is one line of `authsvc tour --json`.
type step struct {
	Step   string
	OK     bool
	Detail string
	MS     *float64
}

func checkTour(t *testing.T, out string) {
	t.Helper()
	steps := 0
	var answers []answer
	for line := range strings.Lines(out) {
		var s step
		var a answer
		if err := errors.Join(json.Unmarshal([]byte(line), &s), json.Unmarshal([]byte(line), &a)); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if a.Answer != "" {
			answers = append(answers, a)
			continue
		}
		if !s.OK || s.Step == "" || s.Detail == "" || s.MS == nil {
			t.Errorf("step %s", line)
		}
		steps++
	}
	if steps != 25 {
		t.Errorf("%d steps, want 25", steps)
	}
	checkAnswers(t, answers)
}

// answer is one row of the comparison at the end of the tour.
type answer struct {
	Answer    string
	MedianMS  float64 `json:"median_ms"`
	AuthCalls int     `json:"auth_calls_per_100"`
	LogoutMS  float64 `json:"logout_ms"`
	WorstMS   float64 `json:"logout_worst_ms"`
	Stopped   string  `json:"auth_stopped"`
}

// checkAnswers holds the README's table to what the tour has found: the same
// answers, the same number of questions to the auth service, the same end. Times
// are not compared: they are this machine's.
func checkAnswers(t *testing.T, answers []answer) {
	t.Helper()
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| ([^|]+) \| [0-9.]+ ms \| (\d+) \| [0-9.]+ ms \| ([^|]+) \|$`).FindAllStringSubmatch(string(text), -1)
	if len(rows) != len(answers) || len(rows) != 6 {
		t.Fatalf("the README shows %d answers, the tour %d", len(rows), len(answers))
	}
	for i, row := range rows {
		a := answers[i]
		works := strings.HasPrefix(row[3], "works for *B*")
		if row[1] != a.Answer || row[2] != fmt.Sprint(a.AuthCalls) || works != strings.HasPrefix(a.Stopped, "works for ") ||
			!works && row[3] != a.Stopped {
			t.Errorf("the README says %q, the tour %+v", row[1:], a)
		}
		if a.MedianMS <= 0 || a.LogoutMS <= 0 || a.WorstMS < a.LogoutMS {
			t.Errorf("no times in %+v", a)
		}
	}
}

// checkCIRuns is for the one command that cannot run inside itself.
func checkCIRuns(t *testing.T, command string) {
	t.Helper()
	ci, err := os.ReadFile("../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(strings.Split(string(ci), "\n"), command) {
		t.Errorf(".ci/run does not run %q", command)
	}
}

// checkSubscription runs the command until it has shown one event.
func checkSubscription(t *testing.T, dev *devStack, command string) {
	t.Helper()
	requireTool(t, "nats")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	sub := exec.CommandContext(ctx, "sh", "-c", "exec "+command+" -s nats://"+dev.nats+" --count 1")
	out, err := sub.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	sub.Stderr = sub.Stdout
	if err := sub.Start(); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(out)
	if _, err := reader.ReadString('\n'); err != nil { // "Subscribing on …"
		t.Fatal(err)
	}
	said := make(chan []byte, 1)
	go func() { // ends with the command, which ends with ctx
		all, _ := io.ReadAll(reader)
		said <- all
	}()
	// The line comes before the broker knows of the subscription, so once more
	// until the event is seen.
	for {
		shell(t, dev.place(failedLogin))
		select {
		case all := <-said:
			if err := sub.Wait(); err != nil || !bytes.Contains(all, []byte(`"authbus.login.failed.v1"`)) {
				t.Errorf("%v: nats shows %s", err, all)
			}
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

const failedLogin = `curl -sS -H 'Content-Type: application/json' -d '{"login":"nobody","password":"whatever it may be"}' http://127.0.0.1:8080/v1/sessions`

// devStack is a running `authsvc dev`.
type devStack struct {
	cmd     *exec.Cmd
	http    string
	orders  string
	nats    string
	gateway string
	said    string // up to the hints
	ended   chan error
}

// place puts the stack's own addresses into a command.
func (d *devStack) place(command string) string {
	return strings.NewReplacer("127.0.0.1:8080", d.http, "127.0.0.1:8081", d.orders, "127.0.0.1:8000", d.gateway).Replace(command)
}

// startDev starts `authsvc dev` on free ports and waits for the hints.
func startDev(t *testing.T, binary, dir string, more ...string) *devStack {
	t.Helper()
	d := &devStack{http: freeport.Address(t), orders: freeport.Address(t), nats: freeport.Address(t), gateway: freeport.Address(t), ended: make(chan error, 1)}
	args := []string{
		"dev", "--dir", filepath.Join(dir, "data"), "--listen", d.http, "--nats", d.nats,
		"--orders", d.orders, "--billing", freeport.Address(t), "--gateway", d.gateway,
	}
	d.cmd = exec.Command(binary, append(args, more...)...)
	d.cmd.Dir = dir
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.cmd.Stderr = os.Stderr
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.cmd.Process.Kill() }) // has ended unless the test failed
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "Ctrl-C") {
		d.said += lines.Text() + "\n"
	}
	if err := lines.Err(); err != nil || d.said == "" {
		t.Fatalf("authsvc dev said %q, %v", d.said, err)
	}
	go func() { d.ended <- d.cmd.Wait() }() // ends with the process
	return d
}

// stop asks the stack to end, as Ctrl-C would, and fails unless it does so well.
func (d *devStack) stop(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-d.ended:
		if err != nil {
			t.Errorf("authsvc dev ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("authsvc dev does not end")
	}
}

// TestDevKeepsItsData over a restart: accounts, and that there is an admin.
func TestDevKeepsItsData(t *testing.T) {
	requireTool(t, "curl")
	binary, dir := build(t), t.TempDir()
	const (
		register = `curl -sS -H 'Content-Type: application/json' -d '{"username":"ada","email":"ada@example.org","password":"nine quiet otters juggle"}' http://127.0.0.1:8080/v1/accounts`
		login    = `curl -sS -H 'Content-Type: application/json' -d '{"login":"ada","password":"nine quiet otters juggle"}' http://127.0.0.1:8080/v1/sessions`
	)
	first := startDev(t, binary, dir)
	shell(t, first.place(register))
	var before struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(shell(t, first.place(login))), &before); err != nil {
		t.Fatal(err)
	}
	first.stop(t)
	second := startDev(t, binary, dir)
	defer second.stop(t)
	if !strings.Contains(first.said, "First admin") || strings.Contains(second.said, "First admin") {
		t.Errorf("the first admin's password is shown %q and %q", first.said, second.said)
	}
	if out := shell(t, second.place(login)); !strings.Contains(out, `"access_token"`) {
		t.Errorf("logging in after the restart: %s", out)
	}
}

func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "authsvc")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// shell runs a command line at the root of the repository.
func shell(t *testing.T, command string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// requireTool skips the test where the tool is missing, unless everything is required.
func requireTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("AUTHBUS_TEST_REQUIRE") == "all" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed", name)
	}
}
